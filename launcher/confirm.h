/* The questions that a quick start leaves open (launcher/quick.h), asked in the process that stands then.
 *
 * It needs nothing of the launcher: embed/ may use it. */
#ifndef PYE_CONFIRM_H
#define PYE_CONFIRM_H

#include <stdbool.h>

struct pye_start;

/* Completes what the process starts with. False where the snapshot does not fit, where an init is wanted, or where there
 * is a line to be printed: then pyentry is to begin anew, the ordinary way, and say it there. */
bool pye_confirm(struct pye_start *start);

/* Signals have the actions that they are to have then. */
void pye_begin_anew(const struct pye_start *start) __attribute__((noreturn));

#endif
