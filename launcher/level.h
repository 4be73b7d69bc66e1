/* --cpu: libraries choose code for the processor that they find, and a snapshot keeps their choice. Those that can be told
 * are told to leave out what the processors of a level lack. */
#ifndef PYE_LEVEL_H
#define PYE_LEVEL_H

#include "launcher/machine.h"

/* "native", "v3", "v2" */
bool pye_level_find(const char *name, enum pye_level *level);

/* Tells the C library, OpenSSL, numpy and OpenBLAS of the program that this process will be, by variables. False, with its
 * line printed, where one of them is set to something else already. */
bool pye_level_enforce(enum pye_level level);

#endif
