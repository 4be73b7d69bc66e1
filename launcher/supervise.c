#include "config.h"

#include "launcher/supervise.h"

#include "launcher/descendants.h"
#include "launcher/hygiene.h"
#include "launcher/log.h"
#include "launcher/stop.h"
#include "launcher/sweep.h"
#include "launcher/terminal.h"
#include "launcher/values.h"
#include "launcher/verdict.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PID_DIGITS = 12 };

static struct {
    const struct pye_options *options;
    pid_t child;
    bool ended, stopped;
    int result; /* the child's wait status */
    struct pye_terminal terminal;
    struct pye_stop stop;
    struct pye_verdict verdict;
} init;

/* --- the start --- */

/* What the child gets back as pyentry received it. */
struct received {
    sigset_t mask;
    struct sigaction on_child;
    pid_t parent;
};

/* Before the fork: from here on nothing arrives unasked. Zombies are kept for us even where the parent ignored
 * SIGCHLD. */
static void take_signals(struct received *received)
{
    sigset_t all;
    struct sigaction keep = {.sa_handler = SIG_DFL};
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &received->mask);
    sigaction(SIGCHLD, &keep, &received->on_child);
    received->parent = getpid();
}

static void give_back_signals(const struct received *received)
{
    sigaction(SIGCHLD, &received->on_child, NULL);
    sigprocmask(SIG_SETMASK, &received->mask, NULL);
}

static void become_python(const struct received *received)
{
    if (received->parent != 1) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != received->parent) /* it died before that */
            _exit(PYE_STATUS_BY_SIGNAL + SIGKILL);
    }
    pye_terminal_enter(&init.terminal, getpid());
    pye_terminal_forget(&init.terminal);
    pye_rewrite_listen_pid(received->parent);
    unsetenv("PYENTRY_INIT"); /* one init is enough for all that Python starts */
    char pid[PID_DIGITS];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv(PYE_SUPERVISED, pid, 1);
    give_back_signals(received);
}

/* --- passing on --- */

/* A fault of the init's own is not passed on, and ends it: the signal cannot be blocked then. */
static bool is_ours(int number, const siginfo_t *info)
{
    switch (number) {
    case SIGCHLD:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGSYS:
        return info->si_code > 0;
    default:
        return false;
    }
}

/* A stopped process does not hear that it is to end. */
static void wake(void)
{
    kill(init.terminal.own_group ? -init.child : init.child, SIGCONT);
}

static void send(int number, const siginfo_t *info)
{
    /* A shell wakes the whole job, and so does the terminal signal it. */
    bool job = init.terminal.fd >= 0 && (number == SIGCONT || info->si_code == SI_KERNEL);
    bool group = init.terminal.own_group && (job || init.options->python.forward == PYE_FORWARD_GROUP);
    if (info->si_code == SI_QUEUE && !group)
        sigqueue(init.child, number, info->si_value);
    else
        kill(group ? -init.child : init.child, number);
    if (init.stopped && init.stop.began != 0)
        wake();
}

static void pass_on(int number, const siginfo_t *info)
{
    int to = init.options->python.signal_map.to[number];
    if (to == 0 || is_ours(number, info))
        return;
    if (number == SIGTERM || to == SIGTERM)
        pye_stop_begin(&init.stop);
    if (number == SIGCONT || info->si_code == SI_KERNEL)
        pye_terminal_resume(&init.terminal, init.child);
    /* What the terminal sent, it sent to everybody in the group. */
    if (info->si_code == SI_KERNEL && !init.terminal.own_group)
        return;
    send(to, info);
}

/* --- reaping --- */

static void child_stopped(int number)
{
    /* fg on a running job sends no SIGCONT: only the terminal's group has changed. */
    if ((number == SIGTTIN || number == SIGTTOU) && pye_terminal_resume(&init.terminal, init.child)) {
        kill(-init.child, SIGCONT);
        return;
    }
    init.stopped = true;
    if (init.stop.began != 0) {
        wake();
        return;
    }
    if (pye_terminal_suspend(&init.terminal, init.child))
        return; /* and resumed, by the shell: its SIGCONT is waiting for us */
    pye_log_as(PYE_WARNING, "Python was stopped by signal %d; SIGCONT resumes it", number);
}

/* In the shell's group: who woke Python with its group woke us, and that SIGCONT is Python's already. */
static void child_continued(void)
{
    const struct timespec at_once = {.tv_sec = 0};
    sigset_t one;
    init.stopped = false;
    if (init.terminal.own_group)
        return;
    sigemptyset(&one);
    sigaddset(&one, SIGCONT);
    sigtimedwait(&one, NULL, &at_once);
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid != init.child)
            continue;
        if (WIFSTOPPED(status)) {
            child_stopped(WSTOPSIG(status));
        } else if (WIFCONTINUED(status)) {
            child_continued();
        } else {
            init.ended = true;
            init.result = status;
        }
    }
}

/* --- the loop --- */

static void watch(void)
{
    sigset_t all;
    siginfo_t info;
    struct timespec wait;

    sigfillset(&all);
    while (!init.ended) {
        int number = sigtimedwait(&all, &info, pye_stop_wait(&init.stop, &wait));
        if (number > 0)
            pass_on(number, &info);
        reap(); /* at each turn: a SIGCHLD stands for any number of ends */
        if (!init.ended)
            pye_stop_act(&init.stop, init.child);
    }
}

static void leave(void) __attribute__((noreturn));
static void leave(void)
{
    bool first = getpid() == 1;
    int status = pye_verdict_give(&init.verdict, init.result, &init.stop, init.options);
    pye_terminal_leave(&init.terminal, init.child);
    pye_sweep(first, pye_stop_grace(&init.stop));
    if (status == PYE_BY_SIGNAL) /* as Python ended, where somebody can see it: PID 1 is spared */
        pye_signal_act_by_default(WTERMSIG(init.result));
    _exit(status);
}

bool pye_supervises(const struct pye_options *options)
{
    return options->init == PYE_INIT_ALWAYS || (options->init == PYE_INIT_AUTO && getpid() == 1);
}

bool pye_supervise(const struct pye_options *options)
{
    struct received received;
    bool first = getpid() == 1;

    init.options = options;
    pye_stop_prepare(&init.stop, options);
    pye_verdict_prepare(&init.verdict);
    pye_children_note();
    if (!first)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    pye_terminal_prepare(&init.terminal, first);
    take_signals(&received);
    init.child = fork();
    if (init.child < 0) {
        pye_log_as(PYE_CRITICAL, "Python could not be started: fork: %s%s", strerror(errno),
                   errno == EAGAIN ? " (is a limit on processes reached: --pids-limit, ulimit -u?)" : "");
        give_back_signals(&received);
        return false;
    }
    if (init.child == 0) {
        become_python(&received);
        return true;
    }
    /* The container ends with this process: from here on, say what fails and go on. */
    pye_terminal_enter(&init.terminal, init.child);
    pye_let_go(init.terminal.fd);
    watch();
    leave();
}

void pye_supervised(struct pye_options *options)
{
    const char *supervised = getenv(PYE_SUPERVISED);
    long pid;
    if (supervised == NULL || !pye_parse_number(supervised, 1, INT_MAX, &pid) || pid != getpid())
        return;
    /* The init keeps the time, rewrites the signals and reaches the group. */
    options->python.supervised = true;
    pye_signal_map_clear(&options->python.signal_map);
    if (options->python.forward == PYE_FORWARD_GROUP)
        options->python.forward = PYE_FORWARD_MAIN;
}
