/* The stop report: a process that is still alive some time after SIGTERM prints where its threads are.
 *
 * A POSIX timer, or the init, sends SIGSTKFLT, a signal that the kernel never uses, with a value that tells it from the
 * program's own; its handler lets faulthandler write the tracebacks into memory and sends them to stderr as one block. This
 * works while the main thread sits in C, with or without the GIL, and takes no thread and no descriptor before
 * it is needed. */
#ifndef PYE_REPORT_H
#define PYE_REPORT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* after: milliseconds; 0 for never. supervised: an init keeps the time. 0, or -1 with a Python exception. */
int pye_report_install(int64_t after, bool supervised);

/* Whether a report can be made, now and until the interpreter goes away. */
bool pye_report_is_on(void);

/* Makes the report, where that is what this signal asks for; false where it does not. Async-signal-safe. */
bool pye_report_take(const siginfo_t *info);

/* A SIGTERM came. Only the first counts. Async-signal-safe. */
void pye_report_arm(void);

/* The SIGTERM was none that should end the process. */
void pye_report_forget(void);

/* No report can be made any more: the interpreter goes away. */
void pye_report_disarm(void);

void pye_report_after_fork(void);

/* In a process that starts from a snapshot, whose own settings these are. */
void pye_report_resume(int64_t after, bool supervised);

#endif
