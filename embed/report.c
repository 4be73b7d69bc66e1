#include "config.h"

#include "embed/report.h"

#include <Python.h>

#include "embed/embed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HIGHEST_DESCRIPTOR = 65535, HEADER_BYTES = 160, PATIENCE_MS = 1000, NS_PER_MS = 1000 * 1000 };

static struct {
    int64_t after; /* milliseconds */
    bool supervised;
    struct timespec since;
    struct sigaction dump; /* faulthandler's handler: all threads, to descriptor */
    int descriptor;        /* a number, open only while a report is made */
    int timer;             /* the kernel's number: glibc's timer_create may allocate */
    volatile sig_atomic_t armed;
} report;

static int64_t milliseconds_since(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)(now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / NS_PER_MS;
}

/* snprintf is not async-signal-safe. */
static size_t append_number(char *out, uint64_t number)
{
    char digits[20];
    size_t length = 0;
    do
        digits[length++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    for (size_t i = 0; i < length; i++)
        out[i] = digits[length - 1 - i];
    return length;
}

static size_t append_text(char *out, const char *text)
{
    size_t length = 0;
    for (; text[length] != '\0'; length++)
        out[length] = text[length];
    return length;
}

static size_t make_header(char *out, int64_t elapsed)
{
    size_t length = append_text(out, "pyentry: still running ");
    length += append_number(out + length, (uint64_t)elapsed / 1000);
    out[length++] = '.';
    length += append_number(out + length, (uint64_t)elapsed / 100 % 10);
    return length + append_text(out + length, " s after SIGTERM; where each thread is:\n");
}

/* Whether a pipe has room for all of it. A page that is filled in part counts as full, hence the half. */
static bool fits(const struct iovec *parts, int count)
{
    int size = fcntl(STDERR_FILENO, F_GETPIPE_SZ), used;
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    return size < 0 || (ioctl(STDERR_FILENO, FIONREAD, &used) == 0 && length <= (size_t)(size - used) / 2);
}

/* What surely fits where poll finds room. */
static size_t first_piece(const struct iovec *parts)
{
    return parts->iov_len < PIPE_BUF ? parts->iov_len : PIPE_BUF;
}

/* Writes it all, as far as stderr takes it: a reader that is gone, or a full non-blocking pipe, must not hold up
 * a process that is to stop. */
static void write_block(struct iovec *parts, int count)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    while (count > 0) {
        if (poll(&ready, 1, PATIENCE_MS) <= 0)
            return;
        ssize_t written = fits(parts, count) ? writev(STDERR_FILENO, parts, count)
                                             : write(STDERR_FILENO, parts->iov_base, first_piece(parts));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        while (count > 0 && (size_t)written >= parts->iov_len) {
            written -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
}

/* Lets faulthandler write into fd, and then sends header and tracebacks as one. */
static void dump_through(int fd, struct iovec *header)
{
    struct stat size;
    struct iovec parts[2] = {*header};
    report.dump.sa_handler(PYE_REPORT_SIGNAL);
    if (fstat(fd, &size) < 0 || size.st_size == 0)
        return;
    parts[1].iov_len = (size_t)size.st_size;
    parts[1].iov_base = mmap(NULL, parts[1].iov_len, PROT_READ, MAP_SHARED, fd, 0);
    if (parts[1].iov_base == MAP_FAILED)
        return;
    write_block(parts, 2);
    munmap(parts[1].iov_base, size.st_size);
}

static void make_report(int64_t elapsed)
{
    char text[HEADER_BYTES];
    struct iovec header = {.iov_base = text, .iov_len = make_header(text, elapsed)};
    int memory = memfd_create("pyentry-report", MFD_CLOEXEC);
    int source = memory < 0 ? STDERR_FILENO : memory;

    /* faulthandler knows this number since the start, when nothing was open under it. */
    if (fcntl(report.descriptor, F_GETFD) >= 0 || dup3(source, report.descriptor, O_CLOEXEC) < 0) {
        header.iov_len += append_text(text + header.iov_len, "(no descriptor left to say where)\n");
        write_block(&header, 1);
    } else if (memory < 0) {
        write_block(&header, 1); /* no memfd on this kernel: line by line */
        report.dump.sa_handler(PYE_REPORT_SIGNAL);
        close(report.descriptor);
    } else {
        dump_through(memory, &header);
        close(report.descriptor);
    }
    if (memory >= 0)
        close(memory);
}

bool pye_report_take(const siginfo_t *info)
{
    if (info->si_code == SI_TIMER && info->si_value.sival_ptr == &report) {
        make_report(milliseconds_since(&report.since));
        return true;
    }
    if (info->si_code != SI_QUEUE || info->si_pid != getppid()
        || (info->si_value.sival_int & ~0x0fffffff) != PYE_REPORT_MARK)
        return false;
    if (!report.armed) /* else ours comes by itself */
        make_report(PYE_REPORT_ELAPSED(info->si_value.sival_int));
    return true;
}

bool pye_report_is_on(void)
{
    return report.after != 0;
}

void pye_report_arm(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = PYE_REPORT_SIGNAL};
    struct itimerspec when = {.it_value = {.tv_sec = report.after / 1000}};

    if (report.after == 0 || report.armed || report.supervised)
        return;
    report.armed = 1;
    clock_gettime(CLOCK_MONOTONIC, &report.since);
    event.sigev_value.sival_ptr = &report;
    when.it_value.tv_nsec = report.after % 1000 * NS_PER_MS;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &report.timer) == 0)
        syscall(SYS_timer_settime, report.timer, 0, &when, NULL);
}

void pye_report_disarm(void)
{
    /* faulthandler takes its handlers back, and the timer would kill. */
    if (report.armed)
        syscall(SYS_timer_delete, report.timer);
    report.after = 0;
}

void pye_report_after_fork(void)
{
    report.armed = 0; /* timers are not inherited */
}

static int highest_descriptor(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > HIGHEST_DESCRIPTOR)
        return HIGHEST_DESCRIPTOR;
    return (int)limit.rlim_cur - 1;
}

int pye_report_install(int64_t after, bool supervised)
{
    struct sigaction before;
    report.supervised = supervised;
    if (after == 0)
        return 0;
    report.descriptor = highest_descriptor();
    sigaction(PYE_REPORT_SIGNAL, NULL, &before);
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    if (faulthandler == NULL)
        return -1;
    PyObject *result = PyObject_CallMethod(faulthandler, "register", "iiOO", PYE_REPORT_SIGNAL, report.descriptor,
                                           Py_True, Py_False);
    Py_DECREF(faulthandler);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    sigaction(PYE_REPORT_SIGNAL, &before, &report.dump); /* it is called by us, not by the signal */
    report.after = after;
    return 0;
}
