/* A crash as one JSON line.
 *
 * faulthandler's handler for a fatal signal stands between two of ours. The one in front opens the memory that it writes
 * to. It puts back what it found when it was enabled, writes, and raises the signal again: so the one behind comes next,
 * also when the writing itself crashes, and sends what is there. Where the program disables faulthandler, or enables it
 * with a file of its own, ours have no part in it any more. */
#ifndef PYE_CRASH_H
#define PYE_CRASH_H

#include <stdbool.h>

/* Before faulthandler is enabled. Without it, pye_crash_install does nothing. */
void pye_crash_prepare(void);

/* After that. 0, or -1 with an exception. */
int pye_crash_install(void);

/* In a process that starts from a snapshot, which has faulthandler on, as text. 0, or -1 with an exception. */
int pye_crash_resume(bool on, bool as_json);

#endif
