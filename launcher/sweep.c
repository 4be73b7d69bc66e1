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

enum { AT_EOF_MS = 500, AFTER_KILL_MS = 1000, LOOK_AGAIN_NS = 50000000 };

struct round {
    bool first;   /* as PID 1 */
    bool earlier; /* also those who were there before Python */
};

static bool is_for_all(const struct round *round)
{
    return round->earlier || pye_children_noted() == 0;
}

/* Reaps who has ended. False when nobody is left. */
static bool somebody_is_left(const struct round *round)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    if (pid < 0 || is_for_all(round))
        return pid == 0;
    size_t count;
    free(pye_descendants(&count));
    return count > 0;
}

static void send_below(const struct round *round, int number)
{
    if (round->first && is_for_all(round)) {
        kill(-1, number);
        return;
    }
    size_t count;
    pid_t *below = pye_descendants(&count);
    for (size_t i = 0; i < count; i++)
        kill(below[i], number);
    free(below);
}

static void ask_to_end(const struct round *round)
{
    send_below(round, SIGTERM);
    send_below(round, SIGCONT); /* a stopped process does not hear that it is to end */
}

/* Waits for everybody to end; when killing, whoever turns up meanwhile is killed, too. */
static bool all_gone_by(int64_t deadline, const struct round *round, bool killing)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (somebody_is_left(round)) {
        if (pye_milliseconds() >= deadline)
            return false;
        if (sigtimedwait(&child, NULL, &pause) < 0 && errno == EAGAIN && killing)
            send_below(round, SIGKILL);
    }
    return true;
}

static void end_what_python_left(const struct round *round, int64_t deadline)
{
    int64_t budget = deadline - pye_milliseconds();
    if (!somebody_is_left(round))
        return;
    if (!round->first && !pye_proc_is_ours()) {
        pye_log_as(PYE_WARNING, "what Python had left behind goes on: it cannot be seen in /proc");
        return;
    }
    ask_to_end(round);
    if (all_gone_by(deadline, round, false))
        return;
    pye_log_as(PYE_WARNING, "killed what Python had left behind: it did not end within %lld ms of SIGTERM",
               (long long)budget);
    send_below(round, SIGKILL);
    all_gone_by(pye_milliseconds() + AFTER_KILL_MS, round, true);
}

/* Who reads what we and Python wrote ends by itself, after the last line. When we are gone the kernel kills. */
static void end_who_was_earlier(int64_t deadline)
{
    const struct round round = {.first = true, .earlier = true};
    int64_t patience = pye_milliseconds() + AT_EOF_MS;
    close(STDERR_FILENO);
    if (all_gone_by(patience < deadline ? patience : deadline, &round, false))
        return;
    ask_to_end(&round);
    all_gone_by(deadline, &round, false);
}

void pye_sweep(bool first, int64_t budget)
{
    const struct round round = {.first = first};
    int64_t deadline = pye_milliseconds() + budget;
    end_what_python_left(&round, deadline);
    if (first && pye_children_noted() > 0)
        end_who_was_earlier(deadline);
}
