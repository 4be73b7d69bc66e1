#include "embed/bundle/bundle.h"

#include "embed/bundle/commandline.h"
#include "embed/bundle/files.h"
#include "embed/bundle/mark.h"
#include "embed/embed.h"
#include "launcher/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pye_bundle here;
static bool is_bundle;

const struct pye_bundle *pye_bundle(void)
{
    return is_bundle ? &here : NULL;
}

bool pye_is_bundle(void)
{
    return is_bundle;
}

/* --- finding it --- */

/* Without /proc (an empty root) the kernel's own word for what it started has to do. */
static const char *started_as(void)
{
    const char *path = (const char *)getauxval(AT_EXECFN); /* NOLINT(performance-no-int-to-ptr) */
    return path == NULL ? "" : path;
}

int pye_bundle_open(void)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fd = open(started_as(), O_RDONLY | O_CLOEXEC);
    return fd;
}

/* at: "", or what it is to be. */
static bool find_self(char *path, const char *at)
{
    static const char deleted[] = " (deleted)";
    if (*at != '\0')
        return snprintf(path, PATH_MAX, "%s", at) < PATH_MAX;
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (length <= 0 && realpath(started_as(), path) == NULL)
        return false;
    if (length > 0)
        path[length] = '\0';
    /* Replaced by a newer one meanwhile: the new one is what a child would start. */
    size_t known = strlen(path);
    if (known > sizeof deleted && strcmp(path + known - (sizeof deleted - 1), deleted) == 0)
        path[known - (sizeof deleted - 1)] = '\0';
    return true;
}

/* --- reading it --- */

/* Maps the part of the file that the mark names, and indexes it. NULL, or what is wrong. */
static const char *map_archive(struct pye_archive *archive, const struct pye_mark *mark)
{
    static char reason[128];
    struct stat status;
    int fd = pye_bundle_open();
    if (fd < 0 || fstat(fd, &status) < 0) {
        snprintf(reason, sizeof reason, "the executable cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return reason;
    }
    if (mark->offset > (uint64_t)status.st_size || mark->size != (uint64_t)status.st_size - mark->offset) {
        snprintf(reason, sizeof reason, "it has %lld bytes in place of %llu (cut short, stripped or appended to?)",
                 (long long)status.st_size, (unsigned long long)mark->offset + mark->size);
        close(fd);
        return reason;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t before = mark->offset % page;
    char *map = mmap(NULL, mark->size + before, PROT_READ, MAP_PRIVATE, fd, (off_t)(mark->offset - before));
    int error = errno;
    close(fd);
    if (map == MAP_FAILED) {
        snprintf(reason, sizeof reason, "it cannot be mapped: %s", strerror(error));
        return reason;
    }
    const char *wrong = pye_archive_open(archive, map + before, mark->size, mark->offset);
    if (wrong == NULL && pye_archive_directory_crc(archive) != mark->directory) {
        pye_archive_close(archive);
        wrong = "its directory is damaged";
    }
    if (wrong != NULL)
        munmap(map, mark->size + before);
    return wrong;
}

const char *pye_bundle_line(const struct pye_bundle *bundle, const char *key, size_t *at, size_t *length)
{
    size_t key_length = strlen(key);
    while (*at < bundle->manifest_size) {
        const char *line = bundle->manifest + *at;
        const char *end = memchr(line, '\n', bundle->manifest_size - *at);
        size_t line_length = end == NULL ? bundle->manifest_size - *at : (size_t)(end - line);
        *at += line_length + 1;
        if (line_length > key_length && memcmp(line, key, key_length) == 0 && line[key_length] == ' ') {
            *length = line_length - key_length - 1;
            return line + key_length + 1;
        }
    }
    return NULL;
}

static long number_of(const struct pye_bundle *bundle, const char *key)
{
    char text[24] = "";
    size_t at = 0, length;
    const char *value = pye_bundle_line(bundle, key, &at, &length);
    if (value == NULL || length >= sizeof text)
        return 0;
    memcpy(text, value, length);
    return strtol(text, NULL, 10);
}

const char *pye_bundle_read_manifest(struct pye_bundle *bundle)
{
    const struct pye_entry *entry =
        pye_archive_find(&bundle->archive, PYE_BUNDLE_MANIFEST, sizeof PYE_BUNDLE_MANIFEST - 1);
    if (entry == NULL || entry->size > PYE_MANIFEST_BYTES)
        return "it has no manifest";
    bundle->manifest = pye_archive_read(&bundle->archive, entry);
    bundle->manifest_size = entry->size;
    if (bundle->manifest == NULL)
        return "its manifest is damaged";
    bundle->has_stdlib = number_of(bundle, "stdlib") != 0;
    bundle->optimize = (int)number_of(bundle, "optimize");
    bundle->time = number_of(bundle, "time");
    return NULL;
}

/* --- Python's standard library, where it is not in the bundle --- */

static bool has_os(const char *directory, size_t length, const char *rest)
{
    char path[PATH_MAX * 2];
    int size = snprintf(path, sizeof path, "%.*s%s/os.py", (int)length, directory, rest);
    return size < (int)sizeof path && access(path, F_OK) == 0;
}

/* Where the builder's Python has it, or in lib/pythonX.Y of a directory above the bundle, as Python itself looks for it:
 * what Python says when it finds none fills a screen. */
static bool finds_library(const struct pye_bundle *bundle, char *wanted, size_t size)
{
    size_t at = 0, length = 0;
    const char *line = pye_bundle_line(bundle, "library", &at, &length);
    if (line == NULL || length >= size || getenv("PYTHONHOME") != NULL)
        return true;
    memcpy(wanted, line, length);
    wanted[length] = '\0';
    if (has_os(wanted, length, ""))
        return true;
    const char *tail = wanted + length;
    for (int parts = 0; parts < 2 && tail > wanted;)
        parts += *--tail == '/';
    for (size_t above = bundle->root_length; above > 1; above--) { /* not in the root, as Python does not */
        if (bundle->root[above - 1] == '/' && has_os(bundle->root, above - 1, tail))
            return true;
    }
    return false;
}

/* Whose the command line is; *argv is what is left for Python. */
static bool take_command_line(int *argc, char ***argv, const char *at)
{
    if (*at != '\0') {
        here.is_pyentry = here.runs_app = true;
        if (*argc > 0)
            (*argv)[0] = here.executable;
        return true;
    }
    enum pye_bundle_name name = pye_bundle_called(*argc > 0 ? (*argv)[0] : "");
    here.is_pyentry = name == PYE_CALLED_PYENTRY;
    here.runs_app = name == PYE_CALLED_OTHERWISE && !pye_bundle_asks_for_python(&here, *argc, *argv);
    return pye_bundle_arguments(&here, argc, argv);
}

bool pye_bundle_begin(int *argc, char ***argv, const char *at)
{
    struct pye_mark mark;
    switch (pye_mark_read(&mark)) {
    case PYE_MARK_EMPTY:
        return true;
    case PYE_MARK_DAMAGED:
        pye_log("%s: this bundle is damaged: its mark is not whole. Build or copy it again", (*argv)[0]);
        return false;
    case PYE_MARK_SET:
        break;
    }
    const char *wrong = find_self(here.executable, at) ? map_archive(&here.archive, &mark) : "its own path cannot be found";
    if (wrong == NULL)
        wrong = pye_bundle_read_manifest(&here);
    if (wrong == NULL)
        wrong = pye_files_find(&here);
    if (wrong != NULL) {
        pye_log("%s: this bundle is damaged: %s. Build or copy it again", (*argv)[0], wrong);
        return false;
    }
    char library[PATH_MAX];
    if (!here.has_stdlib && !finds_library(&here, library, sizeof library)) {
        pye_log("%s: there is no standard library in this bundle, and none in %s: install that Python, or build with "
                "--stdlib", (*argv)[0], library);
        return false;
    }
    is_bundle = true;
    return take_command_line(argc, argv, at);
}

/* --- its snapshot --- */

bool pye_bundle_snapshot(uint64_t *base, uint64_t *bytes)
{
    const struct pye_entry *entry = NULL;
    if (is_bundle && here.runs_app)
        entry = pye_archive_find(&here.archive, PYE_BUNDLE_SNAPSHOT, sizeof PYE_BUNDLE_SNAPSHOT - 1);
    if (entry == NULL)
        return false;
    *base = pye_archive_offset(&here.archive, entry);
    *bytes = entry->size;
    return true;
}

bool pye_bundle_settle(uint64_t *start, uint64_t *end, uint64_t *offset)
{
    uint64_t bytes = (uint64_t)here.archive.bytes;
    *start = *end = *offset = 0;
    if (!is_bundle)
        return true;
    *start = PYE_PAGE_DOWN(bytes);
    *end = PYE_PAGE_UP(bytes + here.archive.size);
    *offset = PYE_PAGE_DOWN((uint64_t)here.archive.base);
    return pye_archive_settle(&here.archive);
}

int pye_bundle_option(size_t *at, char **text)
{
    size_t length;
    const char *line = is_bundle ? pye_bundle_line(&here, "option", at, &length) : NULL;
    if (line == NULL)
        return 0;
    *text = pye_bundle_expanded(line, length);
    return *text == NULL ? -1 : 1;
}

bool pye_bundle_has_command_line(void)
{
    return is_bundle && !here.is_pyentry;
}
