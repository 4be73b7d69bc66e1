#include "launcher/streams.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MEMORY_DEVICES = 1, NULL_DEVICE = 3 };

static const char *kind_of(int fd, const struct stat *status)
{
    switch (status->st_mode & S_IFMT) {
    case S_IFIFO:
        return "pipe";
    case S_IFSOCK:
        return "socket";
    case S_IFREG:
        return "file";
    case S_IFCHR:
        if (status->st_rdev == makedev(MEMORY_DEVICES, NULL_DEVICE))
            return "/dev/null";
        return isatty(fd) ? "terminal" : "device";
    default:
        return "other";
    }
}

/* The link of a pipe or a socket is no path. */
static void find_path(int fd, struct pye_stream *stream)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, stream->path, sizeof stream->path - 1);
    stream->path[length > 0 && stream->path[0] == '/' ? length : 0] = '\0';
}

static void look(int fd, struct pye_stream *stream, struct stat *status)
{
    int flags = fcntl(fd, F_GETFL);
    *stream = (struct pye_stream){.kind = "closed", .same_as = -1};
    if (flags < 0 || fstat(fd, status) < 0)
        return;
    stream->kind = kind_of(fd, status);
    stream->nonblocking = flags & O_NONBLOCK;
    stream->wrong_way = (flags & O_ACCMODE) == (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    find_path(fd, stream);
}

void pye_streams_look(struct pye_stream streams[3])
{
    struct stat status[3];
    memset(status, 0, sizeof status);
    for (int fd = 0; fd < 3; fd++) {
        look(fd, &streams[fd], &status[fd]);
        for (int other = 0; other < fd && status[fd].st_ino != 0; other++) {
            if (streams[fd].same_as < 0 && status[other].st_dev == status[fd].st_dev
                && status[other].st_ino == status[fd].st_ino)
                streams[fd].same_as = other;
        }
    }
}
