#include "launcher/values.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 32 };

/* What stands behind the digits, NULL where there are none or they are too large. strtol would take spaces and signs. */
static const char *read_digits(const char *text, long *number)
{
    const char *digit = text;
    for (*number = 0; *digit >= '0' && *digit <= '9'; digit++) {
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, *digit - '0', number))
            return NULL;
    }
    return digit == text ? NULL : digit;
}

bool pye_parse_number(const char *text, long low, long high, long *number)
{
    long value;
    const char *end = read_digits(text, &value);
    if (end == NULL || *end != '\0' || value < low || value > high)
        return false;
    *number = value;
    return true;
}

bool pye_parse_duration(const char *text, int64_t *milliseconds)
{
    static const struct {
        const char *suffix;
        long milliseconds;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};
    static const long day = 24L * 60 * 60 * 1000;
    long count;
    const char *suffix = read_digits(text, &count);

    if (suffix == NULL)
        return false;
    if (count == 0 && *suffix == '\0') {
        *milliseconds = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(suffix, units[i].suffix) != 0)
            continue;
        if (count > day / units[i].milliseconds)
            return false;
        *milliseconds = (int64_t)count * units[i].milliseconds;
        return true;
    }
    return false;
}

bool pye_parse_cpu_count(const char *text, int *count)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10); /* spaces and signs are python's to allow */
    if (strcmp(text, "default") == 0)
        value = 0;
    else if (end == text || *end != '\0' || errno != 0 || value < 1 || value > INT_MAX)
        return false;
    *count = (int)value;
    return true;
}

/* By hand, since sigabbrev_np is glibc's alone and the numbers differ between architectures. */
static const struct {
    const char *name;
    int number;
} signal_names[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT},   {"ILL", SIGILL},
    {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},     {"BUS", SIGBUS},     {"FPE", SIGFPE},
    {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV},   {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM},   {"STKFLT", SIGSTKFLT},
    {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP},   {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},     {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF},   {"WINCH", SIGWINCH},
    {"IO", SIGIO},     {"PWR", SIGPWR},       {"SYS", SIGSYS},
};

static bool parse_realtime(const char *name, int *number)
{
    long offset = 0;
    bool from_min = strncasecmp(name, "RTMIN", 5) == 0;
    if (!from_min && strncasecmp(name, "RTMAX", 5) != 0)
        return false;
    if (name[5] != '\0') {
        if (name[5] != (from_min ? '+' : '-')
            || !pye_parse_number(name + 6, 0, SIGRTMAX - SIGRTMIN, &offset))
            return false;
    }
    *number = from_min ? SIGRTMIN + (int)offset : SIGRTMAX - (int)offset;
    return true;
}

bool pye_parse_signal(const char *text, int *number)
{
    long value;
    if (pye_parse_number(text, 1, PYE_SIGNALS - 1, &value)) {
        *number = (int)value;
        return true;
    }
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (size_t i = 0; i < sizeof signal_names / sizeof *signal_names; i++) {
        if (strcasecmp(name, signal_names[i].name) == 0) {
            *number = signal_names[i].number;
            return true;
        }
    }
    return parse_realtime(name, number);
}

void pye_signal_map_clear(struct pye_signal_map *map)
{
    for (int i = 0; i < PYE_SIGNALS; i++)
        map->to[i] = (uint8_t)i;
}

/* Why a signal cannot be mapped, or NULL. */
static const char *refuse_from(int number)
{
    switch (number) {
    case SIGKILL:
    case SIGSTOP:
        return "the first cannot be caught";
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
        return "the first is what a fault raises, again and again";
    case SIGSTKFLT:
        return "the first is what the stop report comes by";
    default:
        return number <= SIGSYS || number >= SIGRTMIN ? NULL : "the first is the C library's own";
    }
}

/* A fault's signal is a way to a core dump, and KILL one to end at once. */
static const char *refuse_to(int number)
{
    if (number == SIGSTOP)
        return "the second would stop the process for good";
    if (number == SIGSTKFLT)
        return "the second is what the stop report comes by";
    return number <= SIGSYS || number >= SIGRTMIN ? NULL : "the second is the C library's own";
}

/* NULL, or why not. */
static const char *parse_pair(char *pair, struct pye_signal_map *map)
{
    const char *why;
    int from, to = 0;
    char *equals = strchr(pair, '=');
    if (equals == NULL)
        return "the equals sign is missing";
    *equals = '\0';
    if (!pye_parse_signal(pair, &from))
        return "the first is no signal";
    if (strcmp(equals + 1, "0") != 0 && !pye_parse_signal(equals + 1, &to))
        return "the second is neither a signal nor 0";
    if ((why = refuse_from(from)) != NULL || (why = refuse_to(to)) != NULL)
        return why;
    if (map->to[from] != from)
        return "the first is mapped already"; /* which one was meant? */
    map->to[from] = (uint8_t)to;
    return NULL;
}

bool pye_parse_signal_map(const char *text, struct pye_signal_map *map, struct pye_pair *wrong)
{
    struct pye_signal_map parsed;
    char pair[2 * NAME_MAX_BYTES];

    pye_signal_map_clear(&parsed);
    for (;;) {
        size_t length = strcspn(text, ",");
        const char *why = "the names are too long";
        if (length < sizeof pair) {
            memcpy(pair, text, length);
            pair[length] = '\0';
            why = parse_pair(pair, &parsed);
        }
        if (why != NULL) {
            *wrong = (struct pye_pair){.text = text, .why = why, .length = (int)length};
            return false;
        }
        if (text[length] == '\0')
            break;
        text += length + 1;
    }
    *map = parsed;
    return true;
}
