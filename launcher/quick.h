/* A start from a snapshot before there is a C library. The loader's and the C library's own beginnings take longer than
 * all of that: they ask the processor sixty things, each a way out of a virtual machine and back.
 *
 * What maps memory is checked before, by the same code as everywhere. The rest, which is whether the snapshot fits the
 * command line, the environment and the files of today, is asked by the process that stands then, which has a C
 * library (launcher/confirm.h). Where the answer is no it begins anew, without this. */
#ifndef PYE_QUICK_H
#define PYE_QUICK_H

#include <link.h>

/* Set by who begins anew, whatever it counts to: not this way again. */
#define PYE_RESTORE_TRIES "PYENTRY_RESTORE_TRIES"

/* Returns where there is nothing to start from that is worth this way, and then nothing has changed. */
void pye_quick(int argc, char **argv, char **environment, const ElfW(auxv_t) *auxiliary);

#endif
