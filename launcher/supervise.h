/* The init: a parent process around Python.
 *
 * One thread, no Python in memory, all signals blocked and taken one by one. It starts Python as its child, passes
 * signals on, reaps whatever is handed to it, and, when Python has ended, stops what is left below. */
#ifndef PYE_SUPERVISE_H
#define PYE_SUPERVISE_H

#include "launcher/options.h"

/* The PID of the Python that is supervised. */
#define PYE_SUPERVISED "PYENTRY_SUPERVISED"

/* Whether Python is to be supervised from this process. */
bool pye_supervises(const struct pye_options *options);

/* Forks. Returns in the child, which is to become Python, with the settings that it needs; the parent stays
 * inside until the end, and leaves the process. Returns in the parent, with a line printed, only when there is no
 * child: false. */
bool pye_supervise(struct pye_options *options);

/* A supervised Python may execute itself anew, as reloaders do: the settings for it, too, where this is that one. */
void pye_supervise_again(struct pye_options *options);

#endif
