/* The monotonic clock. It needs nothing of the launcher: embed/ uses it, too. */
#ifndef PYE_CLOCK_H
#define PYE_CLOCK_H

#include <stdint.h>

/* Async-signal-safe. */
int64_t pye_milliseconds(void);

#endif
