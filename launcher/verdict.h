/* How Python ended: one line where it was a signal that nobody asked for, and the exit status. */
#ifndef PYE_VERDICT_H
#define PYE_VERDICT_H

#include "launcher/memory.h"
#include "launcher/options.h"
#include "launcher/stop.h"

struct pye_verdict {
    int64_t started;
    bool has_memory;
    struct pye_cgroup memory;
    int64_t oom_kills; /* at the start */
};

/* Before Python is started. */
void pye_verdict_prepare(struct pye_verdict *verdict);

/* The exit status for this wait status, the line printed. PYE_BY_SIGNAL: as Python, by the same signal. */
int pye_verdict_give(const struct pye_verdict *verdict, int wait_status, const struct pye_stop *stop,
                     const struct pye_options *options);

#endif
