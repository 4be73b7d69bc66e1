/* The end: nothing that Python started is left behind. */
#ifndef PYE_SWEEP_H
#define PYE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

/* What is below gets SIGTERM, until budget milliseconds have gone, then SIGKILL. As PID 1 that is every process; else
 * our descendants. Children that were noted at the start come last, as PID 1, and are left alone elsewhere. All signals
 * are blocked. */
void pye_sweep(bool first, int64_t budget);

#endif
