#include "launcher/sweep.h"

#include "launcher/descendants.h"
#include "launcher/log.h"
#include "launcher/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AFTER_KILL_MS = 1000, LOOK_AGAIN_NS = 50000000 };

/* Reaps who has ended. False when nobody is left. */
static bool somebody_is_left(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid == 0;
}

static void send_below(bool first, int number)
{
    if (first) {
        kill(-1, number);
        return;
    }
    size_t count;
    pid_t *below = pye_descendants(getpid(), &count);
    for (size_t i = 0; i < count; i++)
        kill(below[i], number);
    free(below);
}

/* Waits for everybody to end, at most so long; a number is sent to whoever turns up meanwhile, too. */
static bool all_gone_within(int64_t milliseconds, bool first, int number)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
    int64_t deadline = pye_milliseconds() + milliseconds;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (somebody_is_left()) {
        if (pye_milliseconds() >= deadline)
            return false;
        if (sigtimedwait(&child, NULL, &pause) < 0 && errno == EAGAIN && number == SIGKILL)
            send_below(first, number);
    }
    return true;
}

void pye_sweep(bool first, int64_t budget)
{
    if (!somebody_is_left())
        return;
    if (!first && !pye_proc_is_ours()) {
        pye_log("what Python had left behind goes on: it cannot be seen in /proc");
        return;
    }
    send_below(first, SIGTERM);
    send_below(first, SIGCONT); /* a stopped process does not hear that it is to end */
    if (all_gone_within(budget, first, SIGTERM))
        return;
    pye_log("killed what Python had left behind: it did not end within %lld ms of SIGTERM", (long long)budget);
    send_below(first, SIGKILL);
    all_gone_within(AFTER_KILL_MS, first, SIGKILL);
}
