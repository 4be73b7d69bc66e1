/* A timer that sends this process a signal. Async-signal-safe, all of it. A forked child inherits none.
 *
 * By raw system calls: glibc's timer_create may allocate. */
#ifndef PYE_TIMER_H
#define PYE_TIMER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* *timer becomes the kernel's number. False where there can be none. */
bool pye_timer_create(int *timer, int signal);

/* It goes off once, after so many milliseconds; whatever it was set to before is forgotten. */
void pye_timer_set(int timer, int64_t milliseconds);

void pye_timer_delete(int timer);

/* Whether the signal was sent by the timer that was created at this place. */
bool pye_timer_sent(const int *timer, const siginfo_t *info);

#endif
