#include "embed/dispositions.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_BYTES = 4096, HEXADECIMAL = 16, MOST_SIGNALS = 64 };
#define OF_THE_C_LIBRARY (UINT64_C(3) << 31) /* 32 and 33: it refuses to tell of them */

/* A bit for each signal, the lowest for 1, as in the status. */
static struct {
    uint64_t known, ignored;
} signals;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
int __real_sigaction(int number, const struct sigaction *new, struct sigaction *old);
int __wrap_sigaction(int number, const struct sigaction *new, struct sigaction *old);

int __wrap_sigaction(int number, const struct sigaction *new, struct sigaction *old)
{
    uint64_t bit = number >= 1 && number <= MOST_SIGNALS ? UINT64_C(1) << (number - 1) : 0;
    if (new != NULL)
        signals.known &= ~bit;
    if ((signals.known & bit) == 0 || old == NULL)
        return __real_sigaction(number, new, old);
    memset(old, 0, sizeof *old);
    old->sa_handler = (signals.ignored & bit) != 0 ? SIG_IGN : SIG_DFL;
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier) */

static size_t read_status(char text[STATUS_BYTES])
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, STATUS_BYTES - 1);
    if (fd >= 0)
        close(fd);
    return length < 0 ? 0 : (size_t)length;
}

static const char *value_of(const char *text, const char *key)
{
    const char *line = strstr(text, key);
    return line == NULL ? NULL : line + strlen(key);
}

void pye_dispositions_read(void)
{
    char text[STATUS_BYTES];
    text[read_status(text)] = '\0';
    const char *ignored = value_of(text, "\nSigIgn:"), *caught = value_of(text, "\nSigCgt:");
    if (ignored == NULL || caught == NULL || strchr(caught, '\n') == NULL) /* many groups stand in front */
        return;
    signals.ignored = strtoull(ignored, NULL, HEXADECIMAL);
    signals.known = ~strtoull(caught, NULL, HEXADECIMAL) & ~OF_THE_C_LIBRARY;
}

void pye_dispositions_forget(void)
{
    signals.known = 0;
}
