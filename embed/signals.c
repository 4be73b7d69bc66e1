#include "config.h"

#include "embed/signals.h"

#include "embed/embed.h"
#include "embed/replace.h"
#include "embed/report.h"
#include "embed/timer.h"
#include "embed/told.h"
#include "launcher/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KICK_MS = 20, KICKS = 7, FRESH_KICKS = 4, CLOSING_MS = 1000 };

/* Platforms kill ten seconds after SIGTERM, where nobody says otherwise: half of that is for the child of a
 * subprocess.run(), half for the clean-up of the program itself, should the child not end. timeout(1), to name one, sends
 * SIGTERM twice, to the process and to its group: only one that comes later says that somebody will not wait. */
enum { CHILD_MS = 5000, TWICE_MS = 300 };

typedef void action(int, siginfo_t *, void *);

static struct {
    struct pye_settings settings;
    struct sigaction next[PYE_SIGNALS]; /* whom a signal that we chained goes on to */
    PyObject *handler;                  /* ours for SIGTERM */
    bool forked;                        /* off a process that ran Python */
    pid_t owner;                        /* a forked child is not us until pye_signals_adopt */
    bool ignored;                       /* SIGTERM was ignored when the process began */
    volatile sig_atomic_t in_charge;    /* handler is the one that Python calls */
    volatile sig_atomic_t taken, due;
    volatile sig_atomic_t timing;       /* timer is running */
    volatile sig_atomic_t kicks;        /* how often it has, for the SIGTERM that is due */
    volatile sig_atomic_t waits;        /* for a child */
    volatile sig_atomic_t insisted;     /* another SIGTERM came, and was meant */
    volatile int64_t since;             /* when the one that is due came; milliseconds */
    bool passed_on;                     /* the children know */
    int timer;
} state;

static PyObject *python_signal; /* the _signal.signal that was replaced */

/* --- the ends of the process --- */

static void set_action(int number, action *handler)
{
    struct sigaction new = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigemptyset(&new.sa_mask);
    sigaction(number, &new, NULL);
}

static bool fatal_by_default(int number)
{
    switch (number) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        return false;
    default:
        return true;
    }
}

void pye_signal_act_by_default(int number)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigset_t one;

    sigaction(number, &fallback, NULL);
    /* To this thread: one that another has yet to take would come after the _exit. */
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    if (fatal_by_default(number))
        _exit(PYE_STATUS_BY_SIGNAL + number);
}

void pye_sigterm_end(void)
{
    if (state.settings.term_status != PYE_BY_SIGNAL)
        _exit(state.settings.term_status);
    pye_signal_act_by_default(SIGTERM);
    abort(); /* not reached */
}

static void on_guarded(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    pye_sigterm_end();
}

/* Sends SIGTERM to this process from a timer. Async-signal-safe. */
static void start_timer(int64_t milliseconds)
{
    if (!state.timing && !pye_timer_create(&state.timer, SIGTERM))
        return;
    state.timing = 1;
    pye_timer_set(state.timer, milliseconds);
}

static void stop_timer(void)
{
    int timer = state.timer; /* a handler that comes between the two starts another */
    bool timing = state.timing;
    state.timing = 0;
    if (timing)
        pye_timer_delete(timer);
}

/* The interpreter is being taken down: finalizers still flush files, and may take a moment for it. */
static void on_closing(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (pye_timer_sent(&state.timer, info))
        pye_sigterm_end();
    if (state.due && state.timing)
        return;
    state.due = 1;
    start_timer(CLOSING_MS);
}

/* --- the chain --- */

static bool mapped(int number)
{
    return state.settings.signal_map.to[number] != number;
}

static void go_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *next = &state.next[number];
    if (next->sa_flags & SA_SIGINFO)
        next->sa_sigaction(number, info, context);
    else if (next->sa_handler == SIG_DFL)
        pye_signal_act_by_default(number);
    else if (next->sa_handler != SIG_IGN)
        next->sa_handler(number);
}

/* A signal that comes between Python's last look for signals and a system call that blocks, or to another thread than
 * the main one, is noted, and then waited over. So until Python has taken it, it is sent some more, but not for ever: a
 * library may begin its wait anew each time. While a child is waited for it is: of its end nobody else tells us where
 * one of its own still holds the pipe that is read. */
static void kick(void)
{
    if (!state.due || (state.kicks >= KICKS && !state.waits))
        return;
    start_timer((int64_t)KICK_MS << (state.waits && state.kicks > FRESH_KICKS ? FRESH_KICKS : state.kicks));
    state.kicks++;
}

static void note_arrival(void)
{
    int64_t now = pye_milliseconds();
    if (!state.due)
        state.since = now;
    else if (now - state.since > TWICE_MS)
        state.insisted = 1;
    state.due = 1;
    state.kicks = 0;
}

/* The stop report is not asked of the program. */
static void on_requested(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (!pye_report_take(info))
        go_on(number, info, context);
    errno = saved;
}

static void arm_report(void)
{
    struct sigaction now;
    /* C code may have installed a handler past signal.signal, and would be called by the timer. */
    if (sigaction(PYE_REPORT_SIGNAL, NULL, &now) == 0 && now.sa_sigaction == on_requested)
        pye_report_arm();
}

static void on_sigterm(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (pye_timer_sent(&state.timer, info)) {
        kick();
        if (state.due)
            go_on(number, info, context);
        errno = saved;
        return;
    }
    if (getpid() != state.owner) /* between fork and exec: Python would note it, and exec forget it */
        pye_signal_act_by_default(number);
    arm_report();
    if (state.in_charge && !state.taken) {
        note_arrival();
        kick();
    }
    go_on(number, info, context);
    errno = saved;
}

static void on_mapped(int number, siginfo_t *info, void *context)
{
    int saved = errno, to = state.settings.signal_map.to[number];
    if (number == SIGTERM && to != 0)
        arm_report();
    if (to != 0 && state.settings.signal_map.to[to] != to) {
        go_on(to, info, context); /* to is mapped itself: a signal is rewritten once */
    } else if (to != 0) {
        struct sigaction now;
        sigaction(to, NULL, &now);
        if (now.sa_handler == SIG_DFL)
            pye_signal_act_by_default(to);
        else
            kill(getpid(), to);
    }
    errno = saved;
}

/* Our part in a signal; NULL where we have none. */
static action *part_in(int number)
{
    if (number < 1 || number >= PYE_SIGNALS)
        return NULL;
    if (mapped(number))
        return on_mapped;
    if (number == SIGTERM)
        return on_sigterm;
    return number == PYE_REPORT_SIGNAL && pye_report_is_on() ? on_requested : NULL;
}

/* Puts our part in front of the handler that is installed now. */
static void chain(int number)
{
    struct sigaction now;
    action *part = part_in(number);
    if (part == NULL || sigaction(number, NULL, &now) < 0 || now.sa_sigaction == part)
        return;
    state.next[number] = now;
    if (part != on_mapped && now.sa_handler == SIG_IGN)
        return;
    if (part == on_sigterm && now.sa_handler == SIG_DFL) {
        if (getpid() == 1)
            set_action(number, on_guarded);
        return;
    }
    if (part == on_requested) /* an init takes a blocked one for one that is not answered */
        now.sa_flags |= SA_NODEFER;
    if (part == on_requested && now.sa_handler == SIG_DFL) /* nobody waits for an EINTR */
        now.sa_flags |= SA_RESTART | SA_ONSTACK;
    now.sa_sigaction = part;
    now.sa_flags |= SA_SIGINFO;
    sigaction(number, &now, NULL);
}

static void put_in_charge(bool ours)
{
    state.in_charge = ours;
    if (!ours)
        stop_timer();
}

/* *before is the mask to go back to. */
static void block_sigterm(sigset_t *before)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, before);
}

static PyObject *set_signal(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    sigset_t before;
    (void)module;
    block_sigterm(&before); /* until our part is in front again */
    PyObject *old = PyObject_Vectorcall(python_signal, args, (size_t)count, NULL);
    if (old != NULL) {
        long number = PyLong_AsLong(args[0]); /* python_signal has taken it */
        if (number == SIGTERM)
            put_in_charge(args[1] == state.handler);
        if (number < 0)
            PyErr_Clear();
        else
            chain((int)number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return old;
}

/* As signal.signal(). */
static int set_handler(int signal, PyObject *handler)
{
    PyObject *number = PyLong_FromLong(signal);
    if (number == NULL)
        return -1;
    PyObject *args[] = {number, handler};
    PyObject *old = set_signal(NULL, args, 2);
    Py_DECREF(number);
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

/* The C library's sigwait() begins its wait anew after each signal, and Python's handlers do not run. Python's own
 * sigwaitinfo() calls them, and differs in nothing but what it returns: a record that begins with the number. */
static PyObject *wait_for_signal(PyObject *module, PyObject *signals)
{
    (void)module;
    PyObject *python_signals = PyImport_ImportModule("_signal");
    PyObject *info = python_signals == NULL ? NULL : PyObject_CallMethod(python_signals, "sigwaitinfo", "(O)", signals);
    PyObject *number = info == NULL ? NULL : PySequence_GetItem(info, 0);
    Py_XDECREF(info);
    Py_XDECREF(python_signals);
    return number;
}

static int replace_sigwait(void)
{
    static PyMethodDef definition = {.ml_meth = wait_for_signal, .ml_flags = METH_O};
    PyObject *theirs = pye_replace("_signal", "sigwait", &definition);
    Py_XDECREF(theirs);
    return theirs == NULL ? -1 : 0;
}

/* --- the stages --- */

/* The last to run in exit(3): it was the first to be registered. */
#ifdef HAVE_ON_EXIT
static void at_exit(int status, void *unused)
{
    (void)unused;
    struct sigaction now;
    sigaction(SIGTERM, NULL, &now);
    if (now.sa_sigaction == on_closing)
        set_action(SIGTERM, on_guarded);
    if (pye_sigterm_ends(status)) {
        fflush(NULL);
        pye_sigterm_end();
    }
}
#endif

void pye_stop_guard(void)
{
    struct sigaction now;
    state.owner = getpid();
    state.settings.term_status = PYE_BY_SIGNAL;
    pye_signal_map_clear(&state.settings.signal_map);
    sigaction(SIGTERM, NULL, &now);
    state.ignored = now.sa_handler == SIG_IGN;
    if (!state.ignored)
        set_action(SIGTERM, on_guarded);
}

void pye_signals_configure(const struct pye_settings *settings)
{
    state.settings = *settings;
    state.owner = getpid(); /* the init's child by now, where there is an init */
    for (int number = 1; number < PYE_SIGNALS; number++) {
        if (mapped(number))
            chain(number);
    }
#ifdef HAVE_ON_EXIT
    on_exit(at_exit, NULL);
#endif
}

/* The interpreter found our handlers for mapped signals, and took them for somebody else's: it is told what it would
 * have found without them. */
static int tell_python(void)
{
    for (int number = 1; number < PYE_SIGNALS; number++) {
        struct sigaction now;
        if (!mapped(number) || number == SIGTERM)
            continue;
        if (sigaction(number, NULL, &now) == 0 && now.sa_sigaction != on_mapped) {
            chain(number); /* SIGPIPE: python has set it by itself */
            continue;
        }
        void (*found)(int) = state.next[number].sa_handler;
        PyObject *signal = PyImport_ImportModule("_signal");
        PyObject *handler = signal == NULL ? NULL
                            : number == SIGINT && found == SIG_DFL
                                ? PyObject_GetAttrString(signal, "default_int_handler")
                                : PyLong_FromLong((long)(intptr_t)found);
        int result = handler == NULL ? -1 : set_handler(number, handler);
        Py_XDECREF(signal);
        Py_XDECREF(handler);
        if (result < 0)
            return -1;
    }
    return 0;
}

int pye_signals_install(void)
{
    static PyMethodDef definition = {
        .ml_meth = (PyCFunction)(void (*)(void))set_signal,
        .ml_flags = METH_FASTCALL,
    };
    python_signal = pye_replace("_signal", "signal", &definition);
    if (python_signal == NULL || replace_sigwait() < 0)
        return -1;
    chain(PYE_REPORT_SIGNAL);
    return tell_python();
}

int pye_sigterm_install(PyObject *handler)
{
    if (state.ignored)
        return 0;
    state.handler = handler;
    return set_handler(SIGTERM, handler);
}

int pye_sigterm_default(void)
{
    PyObject *fallback = PyLong_FromLong((long)(intptr_t)SIG_DFL);
    int result = fallback == NULL ? -1 : state.ignored ? 0 : set_handler(SIGTERM, fallback);
    Py_XDECREF(fallback);
    return result;
}

int pye_sigterm_closing(void)
{
    if (!state.in_charge)
        return 0;
    stop_timer();
    sigset_t before;
    block_sigterm(&before);
    /* The default, so that CPython's own clean-up has nothing to take back. */
    int result = pye_sigterm_default();
    if (result == 0)
        set_action(SIGTERM, on_closing);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void forget_sigterm(void)
{
    state.taken = 0;
    state.due = 0;
    state.waits = 0;
    state.insisted = 0;
    state.passed_on = false;
}

void pye_signals_after_fork(void)
{
    forget_sigterm();
    state.timing = 0; /* timers are not inherited */
    state.forked = true;
}

bool pye_signals_forked(void)
{
    return state.forked;
}

void pye_signals_adopt(void)
{
    state.owner = getpid();
}

/* The snapshot's own part in a signal, made without a map, gives way to the map's. */
static void resume_mapped(int number)
{
    struct sigaction now;
    sigaction(number, NULL, &now);
    if (now.sa_sigaction == on_sigterm || now.sa_sigaction == on_requested) {
        now.sa_sigaction = on_mapped;
        sigaction(number, &now, NULL);
    } else {
        chain(number);
    }
}

void pye_signals_resume(const struct pye_settings *settings, bool sigterm_ignored)
{
    state.settings = *settings;
    state.ignored = sigterm_ignored;
    pye_signals_after_fork();
    pye_signals_adopt();
    state.forked = false;
    for (int number = 1; number < PYE_SIGNALS; number++) {
        if (mapped(number))
            resume_mapped(number);
    }
}

/* --- one SIGTERM --- */

bool pye_sigterm_take(void)
{
    stop_timer();
    if (state.taken)
        return false;
    state.due = 0;
    state.waits = 0;
    state.insisted = 0;
    state.taken = 1;
    return true;
}

void pye_sigterm_dismiss(void)
{
    forget_sigterm();
    stop_timer();
    pye_report_forget();
}

bool pye_sigterm_is_fresh(void)
{
    return state.kicks <= FRESH_KICKS;
}

bool pye_sigterm_comes_again(void)
{
    return state.due && state.timing && pye_sigterm_is_fresh();
}

bool pye_sigterm_waits_for(pid_t child)
{
    bool in_time = !state.insisted && pye_milliseconds() - state.since < CHILD_MS;
    state.waits = child > 0 && state.due && in_time && pye_told_lives(child);
    if (state.waits) /* to CPython's own handler, which has it noted once more */
        go_on(SIGTERM, NULL, NULL);
    return state.waits;
}

bool pye_sigterm_taken(void)
{
    return state.taken;
}

void pye_sigterm_again(bool deliver)
{
    state.due = 1;
    if (deliver) { /* but not at once: whoever learns of the lost exception must be through with it */
        state.taken = 0;
        state.kicks = 0;
        kick();
    }
}

int pye_sigterm_code(void)
{
    int status = state.settings.term_status;
    return status == PYE_BY_SIGNAL ? PYE_STATUS_BY_SIGNAL + SIGTERM : status;
}

/* A program that caught Terminated and went on to another end has that end. */
bool pye_sigterm_ends(int status)
{
    bool told = state.taken || state.due; /* due: C code dropped the exception, to exit with its code */
    if (told && state.settings.term_status == PYE_BY_SIGNAL && status == pye_sigterm_code())
        return true;
    return state.due && status == EXIT_SUCCESS;
}

void pye_sigterm_pass_on(void)
{
    if (state.passed_on) /* a SIGTERM that comes again is not new to them */
        return;
    state.passed_on = true;
    switch (state.settings.forward) {
    case PYE_FORWARD_MAIN:
        return;
    case PYE_FORWARD_GROUP:
        if (getpgrp() == getpid()) {
            pye_told_group();
            kill(0, SIGTERM); /* our own copy finds the first one taken, or due */
            return;
        }
        break;
    case PYE_FORWARD_AUTO:
        break;
    }
    size_t count;
    const pid_t *children = pye_told_children(&count);
    for (size_t i = 0; i < count; i++)
        kill(children[i], SIGTERM);
}
