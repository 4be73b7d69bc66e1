#include "launcher/stop.h"

#include "launcher/descendants.h"
#include "launcher/log.h"

#include <signal.h>
#include <string.h>

enum { GRACE_MS = 2000, NS_PER_MS = 1000000 };

double pye_seconds(int64_t milliseconds)
{
    return (double)milliseconds / 1000;
}

void pye_stop_prepare(struct pye_stop *stop, const struct pye_options *options)
{
    *stop = (struct pye_stop){
        .report_after = options->python.stop_report,
        .kill_after = options->stop_timeout,
    };
}

void pye_stop_begin(struct pye_stop *stop)
{
    if (stop->began == 0)
        stop->began = pye_milliseconds();
}

int64_t pye_stop_elapsed(const struct pye_stop *stop)
{
    return stop->began == 0 ? 0 : pye_milliseconds() - stop->began;
}

int64_t pye_stop_grace(const struct pye_stop *stop)
{
    if (stop->began == 0 || stop->kill_after == 0)
        return GRACE_MS;
    int64_t left = stop->kill_after - pye_stop_elapsed(stop);
    return left < 0 ? 0 : left < GRACE_MS ? left : GRACE_MS;
}

static bool report_is_ahead(const struct pye_stop *stop)
{
    return stop->began != 0 && !stop->reported && stop->report_after != 0;
}

static bool kill_is_ahead(const struct pye_stop *stop)
{
    return stop->began != 0 && !stop->killed && stop->kill_after != 0;
}

const struct timespec *pye_stop_wait(const struct pye_stop *stop, struct timespec *wait)
{
    int64_t next = INT64_MAX;
    if (report_is_ahead(stop))
        next = stop->report_after;
    if (kill_is_ahead(stop) && stop->kill_after < next)
        next = stop->kill_after;
    if (next == INT64_MAX)
        return NULL;
    int64_t left = next - pye_stop_elapsed(stop);
    if (left < 0)
        left = 0;
    wait->tv_sec = left / 1000;
    wait->tv_nsec = left % 1000 * NS_PER_MS;
    return wait;
}

/* Python's handler makes the report. A process that has none, yet or any more, would die of the signal. */
static void ask_for_report(int64_t elapsed, pid_t child)
{
    union sigval request = {.sival_int = PYE_REPORT_REQUEST(elapsed)};
    if (!pye_catches(child, PYE_REPORT_SIGNAL) || sigqueue(child, PYE_REPORT_SIGNAL, request) < 0)
        pye_log_as(PYE_WARNING, "still running %.1f s after SIGTERM, and cannot say where", pye_seconds(elapsed));
}

void pye_stop_act(struct pye_stop *stop, pid_t child)
{
    int64_t elapsed = pye_stop_elapsed(stop);
    if (report_is_ahead(stop) && elapsed >= stop->report_after) {
        stop->reported = true;
        ask_for_report(elapsed, child);
    }
    if (kill_is_ahead(stop) && elapsed >= stop->kill_after) {
        stop->killed = true;
        pye_log("still running %.1f s after SIGTERM: killed, as --stop-timeout says", pye_seconds(elapsed));
        kill(child, SIGKILL);
    }
}
