#include "embed/timer.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool pye_timer_create(int *timer, int signal)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    event.sigev_value.sival_ptr = timer;
    return syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, timer) == 0;
}

void pye_timer_set(int timer, int64_t milliseconds)
{
    struct itimerspec when = {.it_value = {.tv_sec = milliseconds / 1000}};
    when.it_value.tv_nsec = milliseconds % 1000 * 1000 * 1000;
    syscall(SYS_timer_settime, timer, 0, &when, NULL);
}

void pye_timer_delete(int timer)
{
    syscall(SYS_timer_delete, timer);
}

bool pye_timer_sent(const int *timer, const siginfo_t *info)
{
    return info->si_code == SI_TIMER && info->si_value.sival_ptr == timer;
}
