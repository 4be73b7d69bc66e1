/* Signals below Python: what the process does with an arriving signal before, around and after the handlers that
 * Python knows of.
 *
 * SIGTERM goes through four stages, none of which loses one:
 *   guard    from pye_stop_guard until there is a Python handler: it ends the process at once
 *   python   pye_sigterm_install: CPython's handler, with ours in front (arms the stop report)
 *   closing  pye_sigterm_closing: noted, since nothing can be raised any more; finalizers have a moment left
 *   guard    from the exit hook on
 */
#ifndef PYE_SIGNALS_H
#define PYE_SIGNALS_H

#include <Python.h>

#include "embed/embed.h"

#include <stdbool.h>

/* Puts our signal.signal in, which keeps our part in front of whatever handler Python installs. */
int pye_signals_install(void);

/* Installs handler for SIGTERM through signal.signal. Where SIGTERM was ignored when the process began it stays so. */
int pye_sigterm_install(PyObject *handler);

/* Gives SIGTERM its default action, where it was not ignored. */
int pye_sigterm_default(void);

/* For the handler: true the first time, and then never again unless pye_sigterm_again. */
bool pye_sigterm_take(void);

/* A SIGTERM was taken. */
bool pye_sigterm_taken(void);

/* It arrived just now: it was not sent to us again more than a few times. */
bool pye_sigterm_is_fresh(void);

/* And it will be sent again: not where a handler of the program's calls ours, or nobody sent a signal, but
 * _thread.interrupt_main() has called the handler. */
bool pye_sigterm_comes_again(void);

/* Whether the exception should wait for this child: it has been told, and lives, and some seconds are not over, nor has
 * somebody sent a second SIGTERM. If so, Python calls the handler again between any two of its instructions. */
bool pye_sigterm_waits_for(pid_t child);

/* Nothing is made of this SIGTERM here: it is as if none had come, and the next one is passed on as well. */
void pye_sigterm_dismiss(void);

/* The exception for the SIGTERM got lost. With deliver it comes again, without it stays due until the exit. */
void pye_sigterm_again(bool deliver);

/* Nothing can be raised any more. */
int pye_sigterm_closing(void);

/* Passes SIGTERM on to the children or the group, as the settings say. */
void pye_sigterm_pass_on(void);

/* The exit status that a Python ended by SIGTERM asks for. */
int pye_sigterm_code(void);

/* Whether a process that is about to exit with status should end by SIGTERM. */
bool pye_sigterm_ends(int status);

/* Ends the process as after a SIGTERM. Async-signal-safe. */
void pye_sigterm_end(void) __attribute__((noreturn));

/* In a forked child: nothing has arrived. SIGTERM has its default action until pye_signals_adopt, since a child that
 * has nothing of its own yet would unwind its parent's stack, and then execs perhaps, which forgets what is noted. */
void pye_signals_after_fork(void);
void pye_signals_adopt(void);

/* Whether this is a forked child of a process that ran Python. */
bool pye_signals_forked(void);

/* In a process that starts from a snapshot: the handlers are the snapshot's, all else is the new process's. */
void pye_signals_resume(const struct pye_settings *settings, bool sigterm_ignored);

#endif
