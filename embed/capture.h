/* What faulthandler writes, gathered in memory and sent to stderr as one block, or as one JSON line.
 *
 * faulthandler knows the number of a descriptor since the start; nothing is open under it until there is something to
 * write. Async-signal-safe, but for what prepares. */
#ifndef PYE_CAPTURE_H
#define PYE_CAPTURE_H

#include "launcher/log.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* What needs a number of its own: a crash may come in the middle of a report. */
enum pye_capture_use { PYE_CAPTURE_REPORT, PYE_CAPTURE_CRASH };

struct pye_capture {
    int number; /* what faulthandler writes to */
    int memory; /* -1: it goes on to stderr at once, since this kernel has no memfd */
    size_t header;
};

int pye_capture_number(enum pye_capture_use use);

/* Opens number, with header in front of what faulthandler is going to write. False where there is no descriptor left. */
bool pye_capture_open(struct pye_capture *capture, int number, const char *header, size_t length);

/* Sends what is there, unless it is the header alone, and closes. */
void pye_capture_send(const struct pye_capture *capture, enum pye_severity severity);

/* Sends a text without a traceback. */
void pye_capture_say(const char *text, size_t length, enum pye_severity severity);

/* What is left where there is no descriptor: the tracebacks of all threads, as text, straight to stderr. */
void pye_capture_dump(void);

/* Makes handler one of faulthandler's, which writes all threads' tracebacks to descriptor. It is for us to call: what the
 * program does with the signal stays. 0, or -1 with a Python exception. Not async-signal-safe. */
int pye_capture_register(int number, int descriptor, struct sigaction *handler);

/* Prepares the dump. 0, or -1 with a Python exception. Not async-signal-safe. */
int pye_capture_install(void);

#endif
