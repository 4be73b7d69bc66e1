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

/* Forks. Returns in the child, which is to become Python; the parent stays
 * inside until the end, and leaves the process. Returns in the parent, with a line printed, only when there is no
 * child: false. */
bool pye_supervise(const struct pye_options *options);

/* Where this is the Python that is supervised, just started or executed anew as reloaders do it: the settings for that. */
void pye_supervised(struct pye_options *options);

#endif
