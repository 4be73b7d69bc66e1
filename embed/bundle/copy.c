#include "config.h"

#include "embed/bundle/copy.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool pye_copy_write(const struct pye_entry *entry, int fd)
{
    const char *data = pye_tree_read(entry);
    size_t done = 0;
    if (data == NULL) {
        errno = EIO;
        return false;
    }
    while (done < entry->size) {
        ssize_t wrote = pwrite(fd, data + done, entry->size - done, (off_t)done);
        if (wrote < 0 && errno != EINTR)
            return false;
        done += wrote < 0 ? 0 : (size_t)wrote;
    }
    return true;
}

/* As the file in the tree looks: its mode and times. */
static bool finish(const struct pye_entry *entry, int fd)
{
    struct timespec times[2] = {{.tv_sec = pye_bundle()->time}, {.tv_sec = pye_bundle()->time}};
    return pye_copy_write(entry, fd) && fchmod(fd, 0444) == 0 && futimens(fd, times) == 0;
}

static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int pye_copy_in_memory(const struct pye_entry *entry, bool close_on_exec)
{
#ifdef HAVE_MEMFD_CREATE
    /* What a person sees of it in /proc: the last part of the path, as much as the kernel takes. */
    char name[200];
    const char *slash = memrchr(entry->name, '/', entry->name_length);
    const char *base = slash == NULL ? entry->name : slash + 1;
    snprintf(name, sizeof name, "%.*s", (int)(entry->name + entry->name_length - base), base);

    int fd = memfd_create(name, MFD_ALLOW_SEALING | (close_on_exec ? MFD_CLOEXEC : 0));
    if (fd < 0)
        return -1;
    if (!finish(entry, fd) || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return give_up(fd);
    return fd;
#else
    (void)entry;
    (void)close_on_exec;
    errno = ENOSYS;
    return -1;
#endif
}

static const char *temporary(void)
{
    const char *directory = getenv("TMPDIR");
    return directory == NULL || *directory == '\0' ? "/tmp" : directory;
}

bool pye_copy_make_directory(char *path)
{
    if (snprintf(path, PATH_MAX, "%s/pyentry-XXXXXX", temporary()) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(path) != NULL;
}

int pye_copy_open(const struct pye_entry *entry, bool close_on_exec)
{
    char path[PATH_MAX];
    int fd = pye_copy_in_memory(entry, close_on_exec);
    if (fd >= 0 || errno == EIO || errno == EMFILE || errno == ENFILE)
        return fd;
    if (snprintf(path, sizeof path, "%s/pyentry-XXXXXX", temporary()) >= (int)sizeof path)
        return -1;
    fd = mkostemp(path, close_on_exec ? O_CLOEXEC : 0);
    if (fd < 0)
        return -1;
    unlink(path);
    return finish(entry, fd) ? fd : give_up(fd);
}
