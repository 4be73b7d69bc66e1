/* The stop timeline: SIGTERM at 0, every thread's traceback at --stop-report, SIGKILL at --stop-timeout. */
#ifndef PYE_STOP_H
#define PYE_STOP_H

#include "launcher/clock.h"
#include "launcher/options.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct pye_stop {
    int64_t report_after, kill_after; /* milliseconds; 0: never */
    int64_t began;                    /* on the monotonic clock; 0: nobody asked */
    bool reported, killed;
};

void pye_stop_prepare(struct pye_stop *stop, const struct pye_options *options);

/* A SIGTERM came. Only the first counts. */
void pye_stop_begin(struct pye_stop *stop);

/* How long to wait for the next step, in *wait; NULL where there is none. */
const struct timespec *pye_stop_wait(const struct pye_stop *stop, struct timespec *wait);

/* Does what is due now. */
void pye_stop_act(struct pye_stop *stop, pid_t child);

/* How long, in milliseconds, what Python left behind may take to end. */
int64_t pye_stop_grace(const struct pye_stop *stop);

/* Milliseconds since the SIGTERM. */
int64_t pye_stop_elapsed(const struct pye_stop *stop);

double pye_seconds(int64_t milliseconds);

#endif
