/* pyentry's own lines: stderr only, one write(2) a line, beginning "pyentry: ".
 *
 * As text, or each line as one JSON object, as Cloud Logging and Error Reporting read them: --log-format. The message
 * of an object is the text that one would have seen. */
#ifndef PYE_LOG_H
#define PYE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum pye_log_format { PYE_LOG_AUTO, PYE_LOG_TEXT, PYE_LOG_JSON };

enum pye_severity { PYE_WARNING, PYE_ERROR, PYE_CRITICAL };

enum {
    /* A line never grows past one pipe buffer, so that the kernel keeps it whole. */
    PYE_LOG_LINE_BYTES = 4096,
    /* Cloud Logging takes 256 KiB for an entry, of which it fills some by itself. */
    PYE_LOG_ENTRY_BYTES = 240 * 1024,
};

struct pye_log_entry {
    enum pye_severity severity;
    bool exception; /* an uncaught one, with its traceback: for Error Reporting */
    bool mid_line;  /* what stands before it has no newline yet: that comes first */
    const char *text;
    size_t length; /* the newline at its end is left out */
};

/* AUTO: JSON on Cloud Run, else text. Until it is called, text. */
void pye_log_configure(enum pye_log_format format);

/* Async-signal-safe. */
bool pye_log_is_json(void);

/* While it holds no line is written. Returns whether one would have been since the last call. */
bool pye_log_hold(bool hold);

/* Makes the JSON line of an entry, newline included, in at most room bytes: where the text is too long, its middle is
 * left out. Returns the length. room is at least PYE_LOG_LINE_BYTES. Async-signal-safe. */
size_t pye_log_make(char *out, size_t room, const struct pye_log_entry *entry);

/* An ERROR. errno is left as it was. Not async-signal-safe: it formats. */
void pye_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

void pye_log_as(enum pye_severity severity, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
