#include "config.h"

#include "embed/capture.h"

#include "embed/channel.h"
#include "embed/stdio.h"

#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* faulthandler keeps a descriptor for each signal that is registered with it. This one is never sent. The last but one:
 * valgrind keeps the last for itself. */
#define DUMP_SIGNAL (SIGRTMAX - 1)

static struct sigaction dump; /* faulthandler's handler of it */

enum { HIGHEST_DESCRIPTOR = 65535 };

/* Whether a pipe has room for all of it. A page that is filled in part counts as full, hence the half. */
static bool fits(size_t length)
{
    int size = fcntl(STDERR_FILENO, F_GETPIPE_SZ), used;
    return size < 0 || (ioctl(STDERR_FILENO, FIONREAD, &used) == 0 && length <= (size_t)(size - used) / 2);
}

/* What surely fits where poll finds room. */
static size_t first_piece(size_t length)
{
    return length < PIPE_BUF ? length : PIPE_BUF;
}

/* Writes it all, as far as stderr takes it: a reader that is gone, or a full non-blocking pipe, must not hold up
 * a process that is to stop. */
static void write_block(const char *text, size_t length)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    while (length > 0) {
        if (poll(&ready, 1, PYE_STALLED_MS) <= 0)
            return;
        ssize_t written = write(STDERR_FILENO, text, fits(length) ? length : first_piece(length));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

/* Not on the stack, which may be a signal handler's own small one. */
static char *get_line(void)
{
    char *line = mmap(NULL, PYE_LOG_ENTRY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return line == MAP_FAILED ? NULL : line;
}

void pye_capture_say(const char *text, size_t length, enum pye_severity severity)
{
    struct pye_log_entry entry = {.severity = severity, .mid_line = pye_stdio_is_mid_line(), .text = text,
                                  .length = length};
    char *line = pye_log_is_json() ? get_line() : NULL;
    if (line == NULL) {
        write_block(text, length);
        return;
    }
    write_block(line, pye_log_make(line, PYE_LOG_ENTRY_BYTES, &entry));
    munmap(line, PYE_LOG_ENTRY_BYTES);
}

bool pye_capture_open(struct pye_capture *capture, int number, const char *header, size_t length)
{
    int memory = memfd_create("pyentry-report", MFD_CLOEXEC);
    int source = memory < 0 ? STDERR_FILENO : memory;
    if (fcntl(number, F_GETFD) >= 0 || dup3(source, number, O_CLOEXEC) < 0) {
        if (memory >= 0)
            close(memory);
        return false;
    }
    *capture = (struct pye_capture){.number = number, .memory = memory, .header = length};
    if (write(number, header, length) != (ssize_t)length)
        capture->header = 0; /* then the tracebacks come without it */
    return true;
}

static void send_memory(const struct pye_capture *capture, enum pye_severity severity)
{
    struct stat size;
    if (fstat(capture->memory, &size) < 0 || (size_t)size.st_size <= capture->header)
        return;
    char *text = mmap(NULL, (size_t)size.st_size, PROT_READ, MAP_SHARED, capture->memory, 0);
    if (text == MAP_FAILED)
        return;
    pye_capture_say(text, (size_t)size.st_size, severity);
    munmap(text, (size_t)size.st_size);
}

void pye_capture_send(const struct pye_capture *capture, enum pye_severity severity)
{
    if (capture->memory >= 0) {
        send_memory(capture, severity);
        close(capture->memory);
    }
    close(capture->number);
}

int pye_capture_number(enum pye_capture_use use)
{
    struct rlimit limit;
    int highest = HIGHEST_DESCRIPTOR;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= HIGHEST_DESCRIPTOR)
        highest = (int)limit.rlim_cur - 1;
    return highest - (int)use;
}

void pye_capture_dump(void)
{
    if (dump.sa_handler != NULL)
        dump.sa_handler(DUMP_SIGNAL);
}

int pye_capture_register(int number, int descriptor, struct sigaction *handler)
{
    struct sigaction before;
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    if (faulthandler == NULL)
        return -1;
    sigaction(number, NULL, &before);
    PyObject *none = PyObject_CallMethod(faulthandler, "register", "iiOO", number, descriptor, Py_True, Py_False);
    Py_DECREF(faulthandler);
    if (none == NULL)
        return -1;
    Py_DECREF(none);
    sigaction(number, &before, handler);
    return 0;
}

int pye_capture_install(void)
{
    return dump.sa_handler != NULL ? 0 : pye_capture_register(DUMP_SIGNAL, STDERR_FILENO, &dump);
}
