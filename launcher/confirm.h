/* The questions that a quick start leaves open (launcher/quick.h), asked in the process that stands then.
 *
 * It needs nothing of the launcher: embed/ may use it. */
#ifndef PYE_CONFIRM_H
#define PYE_CONFIRM_H

struct pye_start;

/* Completes what the process starts with. Does not return where the snapshot does not fit, where an init is wanted, or
 * where there is a line to be printed: then pyentry begins anew, the ordinary way, and says it there. */
void pye_confirm(struct pye_start *start);

#endif
