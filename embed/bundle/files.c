#include "embed/bundle/files.h"

#include "embed/bundle/tree.h"
#include "launcher/crc32.h"
#include "launcher/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *pye_files_find(struct pye_bundle *bundle)
{
    static char reason[PATH_MAX + 64];
    size_t at = 0, name_length = 0;
    const char *name = pye_bundle_line(bundle, "files", &at, &name_length);
    const char *slash = strrchr(bundle->executable, '/');
    int length;
    bundle->has_files = name != NULL;
    if (name == NULL)
        length = snprintf(bundle->root, sizeof bundle->root, "%s", bundle->executable);
    else
        length = snprintf(bundle->root, sizeof bundle->root, "%.*s/%.*s",
                          slash == NULL ? 0 : (int)(slash - bundle->executable), bundle->executable, (int)name_length, name);
    if (length < 0 || (size_t)length >= sizeof bundle->root)
        return "its path is too long";
    bundle->root_length = (size_t)length;
    if (bundle->has_files && access(bundle->root, F_OK) < 0) {
        snprintf(reason, sizeof reason, "it needs its directory, and there is no %s", bundle->root);
        return reason;
    }
    return NULL;
}

/* The line in the archive: two numbers, the second in hexadecimal digits. */
static bool parse(const struct pye_entry *entry, unsigned long long *size, unsigned *crc)
{
    char line[32];
    const char *data = pye_tree_read(entry);
    if (data == NULL || entry->size >= sizeof line)
        return false;
    memcpy(line, data, entry->size);
    line[entry->size] = '\0';
    char *end;
    errno = 0;
    *size = strtoull(line, &end, 10);
    *crc = (unsigned)strtoul(end, &end, 16);
    return errno == 0 && *end == '\n';
}

static bool is_as_built(int fd, unsigned long long size, unsigned crc)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || (unsigned long long)status.st_size != size)
        return false;
    if (size == 0)
        return true;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return false;
    bool same = pye_crc32(map, size) == crc;
    munmap(map, size);
    return same;
}

bool pye_files_check(const struct pye_entry *entry, char *path)
{
    unsigned long long size;
    unsigned crc;
    if (!parse(entry, &size, &crc)) /* the line about it is printed */
        return false;
    int length = snprintf(path, PATH_MAX, "%s/%.*s", pye_bundle()->root, (int)entry->name_length, entry->name);
    int fd = length < PATH_MAX ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const char *wrong = fd < 0 ? strerror(errno) : is_as_built(fd, size, crc) ? NULL : "not what it was";
    if (fd >= 0)
        close(fd);
    if (wrong != NULL)
        pye_log("this bundle is damaged: %s: %s. Build or copy it again", path, wrong);
    return wrong == NULL;
}
