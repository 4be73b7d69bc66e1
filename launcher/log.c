#include "launcher/log.h"

#include "launcher/json.h"
#include "launcher/platform.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "pyentry: "

enum { CONTEXT_BYTES = 512, NOTE_BYTES = 64, WAIT_MS = 100, MOST_WAITS = 10 };

static struct {
    bool json;
    bool holds, held; /* lines are not written now; there was one */
    size_t context_length;
    char context[CONTEXT_BYTES]; /* serviceContext as JSON, made here since getenv is not async-signal-safe */
} state;

/* --- entries --- */

static void put_variable(struct pye_json *json, const char *key, const char *variable)
{
    const char *value = pye_platform_variable(variable);
    if (value == NULL)
        return;
    pye_json_raw(json, key);
    pye_json_string(json, value, strlen(value));
}

/* What Error Reporting groups by. */
static void make_context(void)
{
    const struct pye_cloud_run *kind = pye_cloud_run_find();
    struct pye_json json = {.out = state.context, .room = sizeof state.context};
    state.context_length = 0;
    if (kind == NULL)
        return;
    put_variable(&json, ",\"serviceContext\":{\"service\":", kind->name);
    put_variable(&json, ",\"version\":", kind->revision);
    pye_json_raw(&json, "}");
    if (json.length <= json.room) /* else no name that Cloud Run gave */
        state.context_length = json.length;
}

void pye_log_configure(enum pye_log_format format)
{
    state.json = format == PYE_LOG_JSON || (format == PYE_LOG_AUTO && pye_cloud_run_find() != NULL);
    if (state.json)
        make_context();
}

bool pye_log_is_json(void)
{
    return state.json;
}

/* The first and the last lines of a traceback say most. */
static void put_message(struct pye_json *json, const char *text, size_t length, size_t room)
{
    struct pye_json whole = {.out = NULL};
    pye_json_escape(&whole, text, length);
    if (whole.length <= room) {
        pye_json_escape(json, text, length);
        return;
    }
    size_t half = (room - NOTE_BYTES) / 2;
    size_t head = pye_json_prefix(text, length, half);
    size_t tail = pye_json_prefix(text, length, whole.length - half + PYE_JSON_WIDEST - 1);
    pye_json_escape(json, text, head);
    pye_json_raw(json, "\\n[... ");
    pye_json_number(json, (int64_t)(tail - head));
    pye_json_raw(json, " bytes left out ...]\\n");
    pye_json_escape(json, text + tail, length - tail);
}

static const char *const severities[] = {[PYE_WARNING] = "WARNING", [PYE_ERROR] = "ERROR", [PYE_CRITICAL] = "CRITICAL"};

static const char reported[] =
    ",\"@type\":\"type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent\"";

size_t pye_log_make(char *out, size_t room, const struct pye_log_entry *entry)
{
    struct pye_json json = {.out = out, .room = room};
    size_t length = entry->length;
    if (length > 0 && entry->text[length - 1] == '\n')
        length--;
    pye_json_raw(&json, entry->mid_line ? "\n" : "");
    pye_json_raw(&json, "{\"severity\":\"");
    pye_json_raw(&json, severities[entry->severity]);
    pye_json_raw(&json, "\"");
    if (entry->exception)
        pye_json_raw(&json, reported);
    pye_json_raw_bytes(&json, state.context, state.context_length);
    pye_json_raw(&json, ",\"message\":\"");
    put_message(&json, entry->text, length, room - json.length - strlen("\"}\n"));
    pye_json_raw(&json, "\"}\n");
    return json.length;
}

/* --- lines --- */

/* One write where stderr takes it. A full non-blocking one is waited for, but for a moment only, since nobody may read
 * it; then there is nobody to tell, either. */
static void write_whole(const char *line, size_t length)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    for (int waits = 0; length > 0 && waits < MOST_WAITS;) {
        ssize_t written = write(STDERR_FILENO, line, length);
        if (written >= 0) {
            line += written;
            length -= (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&ready, 1, WAIT_MS);
            waits++;
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void write_line(enum pye_severity severity, char *line, size_t length)
{
    char json[PYE_LOG_LINE_BYTES];
    state.held = state.holds;
    if (state.holds)
        return;
    if (state.json) {
        struct pye_log_entry entry = {.severity = severity, .text = line, .length = length};
        length = pye_log_make(json, sizeof json, &entry);
        line = json;
    }
    write_whole(line, length);
}

bool pye_log_hold(bool hold)
{
    bool held = state.held;
    state.holds = hold;
    state.held = false;
    return held;
}

static void log_arguments(enum pye_severity severity, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void log_arguments(enum pye_severity severity, const char *format, va_list args)
{
    int saved = errno;
    char line[PYE_LOG_LINE_BYTES] = PREFIX;
    size_t room = sizeof line - sizeof PREFIX;
    int wanted = vsnprintf(line + sizeof PREFIX - 1, room, format, args);
    size_t length = strlen(line);

    if (wanted >= (int)room)
        memset(line + length - 3, '.', 3);
    for (size_t i = 0; i < length; i++) { /* a value from outside does not make two lines of one */
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    write_line(severity, line, length);
    errno = saved;
}

void pye_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_arguments(PYE_ERROR, format, args);
    va_end(args);
}

void pye_log_as(enum pye_severity severity, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_arguments(severity, format, args);
    va_end(args);
}
