#include "embed/reader.h"

#include "embed/channel.h"
#include "launcher/clock.h"

#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

/* No signal ends this wait early: a program may have a timer that runs on. */
bool pye_reader_soon_at_exit(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int64_t end = pye_milliseconds() + PYE_STALLED_MS, left = PYE_STALLED_MS;
    int found;
    do {
        found = poll(&ready, 1, (int)left);
        left = end - pye_milliseconds();
    } while (found < 0 && errno == EINTR && left > 0);
    return found > 0;
}

bool pye_reader_soon(int fd)
{
    bool writable;
    Py_BEGIN_ALLOW_THREADS
    writable = pye_reader_soon_at_exit(fd);
    Py_END_ALLOW_THREADS
    return writable;
}

size_t pye_reader_fitting(size_t length)
{
    return length < PIPE_BUF ? length : PIPE_BUF;
}

void pye_reader_write(int fd, struct pye_queue *queue, bool (*soon)(int fd))
{
    size_t done = 0;
    while (done < queue->length && soon(fd)) {
        ssize_t written = write(fd, queue->data + done, pye_reader_fitting(queue->length - done));
        if (written > 0)
            done += (size_t)written;
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    pye_queue_drop(queue, done);
}
