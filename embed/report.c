#include "embed/report.h"

#include "embed/capture.h"
#include "embed/embed.h"
#include "embed/timer.h"
#include "launcher/clock.h"
#include "launcher/json.h"

#include <unistd.h>

enum { HEADER_BYTES = 160 };

static struct {
    int64_t after; /* milliseconds */
    bool supervised;
    int64_t since; /* milliseconds */
    struct sigaction dump; /* faulthandler's handler: all threads, to descriptor */
    int descriptor;        /* pye_capture_number's */
    int timer;
    volatile sig_atomic_t armed;
} report;

/* snprintf is not async-signal-safe. */
static size_t make_header(char out[HEADER_BYTES], int64_t elapsed)
{
    struct pye_json text = {.out = out, .room = HEADER_BYTES};
    pye_json_raw(&text, "pyentry: still running ");
    pye_json_number(&text, elapsed / 1000);
    pye_json_raw(&text, ".");
    pye_json_number(&text, elapsed / 100 % 10);
    pye_json_raw(&text, " s after SIGTERM; where each thread is:\n");
    return text.length;
}

static void make_report(int64_t elapsed)
{
    char text[HEADER_BYTES];
    size_t length = make_header(text, elapsed);
    struct pye_capture capture;
    if (pye_capture_open(&capture, report.descriptor, text, length)) {
        report.dump.sa_handler(PYE_REPORT_SIGNAL);
        pye_capture_send(&capture, PYE_WARNING);
    } else {
        pye_capture_say(text, length, PYE_WARNING);
        pye_capture_dump();
    }
}

bool pye_report_take(const siginfo_t *info)
{
    if (pye_timer_sent(&report.timer, info)) {
        make_report(pye_milliseconds() - report.since);
        return true;
    }
    if (info->si_code != SI_QUEUE || info->si_pid != getppid()
        || (info->si_value.sival_int & ~0x0fffffff) != PYE_REPORT_MARK)
        return false;
    if (!report.armed) /* else ours comes by itself */
        make_report(PYE_REPORT_ELAPSED(info->si_value.sival_int));
    return true;
}

bool pye_report_is_on(void)
{
    return report.after != 0;
}

void pye_report_arm(void)
{
    if (report.after == 0 || report.armed || report.supervised)
        return;
    report.armed = 1;
    report.since = pye_milliseconds();
    if (pye_timer_create(&report.timer, PYE_REPORT_SIGNAL))
        pye_timer_set(report.timer, report.after);
}

void pye_report_forget(void)
{
    int timer = report.timer; /* a SIGTERM that comes between the two starts another */
    bool armed = report.armed;
    report.armed = 0;
    if (armed)
        pye_timer_delete(timer);
}

void pye_report_disarm(void)
{
    /* faulthandler takes its handlers back, and the timer would kill. */
    report.after = 0;
    pye_report_forget();
}

void pye_report_after_fork(void)
{
    report.armed = 0; /* timers are not inherited */
}

int pye_report_install(int64_t after, bool supervised)
{
    report.supervised = supervised;
    if (after == 0)
        return 0;
    if (pye_capture_install() < 0)
        return -1;
    report.descriptor = pye_capture_number(PYE_CAPTURE_REPORT);
    if (pye_capture_register(PYE_REPORT_SIGNAL, report.descriptor, &report.dump) < 0)
        return -1;
    report.after = after;
    return 0;
}

void pye_report_resume(int64_t after, bool supervised)
{
    report.after = after;
    report.supervised = supervised;
}
