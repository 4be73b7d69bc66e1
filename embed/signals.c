#include "config.h"

#include "embed/signals.h"

#include "embed/embed.h"
#include "embed/replace.h"
#include "embed/report.h"
#include "launcher/descendants.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATUS_BY_SIGNAL = 128 };

typedef void action(int, siginfo_t *, void *);

static struct {
    struct pye_settings settings;
    struct sigaction next[PYE_SIGNALS]; /* whom a signal that we chained goes on to */
    PyObject *handler;                  /* ours for SIGTERM */
    pid_t owner;                        /* a forked child is not us until pye_signals_after_fork */
    bool ignored;                       /* SIGTERM was ignored when the process began */
    volatile sig_atomic_t in_charge;    /* handler is the one that Python calls */
    volatile sig_atomic_t taken, due;
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
    kill(getpid(), number);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    if (fatal_by_default(number))
        _exit(STATUS_BY_SIGNAL + number);
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

static void on_closing(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    state.due = 1;
}

/* --- the chain --- */

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

static void on_sigterm(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (getpid() != state.owner) /* between fork and exec: Python would note it, and exec forget it */
        pye_signal_act_by_default(number);
    pye_report_arm();
    if (state.in_charge && !state.taken)
        state.due = 1;
    go_on(number, info, context);
    errno = saved;
}

static void on_mapped(int number, siginfo_t *info, void *context)
{
    int saved = errno, to = state.settings.signal_map.to[number];
    if (number == SIGTERM)
        pye_report_arm();
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

static bool mapped(int number)
{
    return state.settings.signal_map.to[number] != number;
}

/* Puts our part in front of the handler that is installed now. */
static void chain(int number)
{
    struct sigaction now;
    if (number < 1 || number >= PYE_SIGNALS || (number != SIGTERM && !mapped(number)))
        return;
    if (sigaction(number, NULL, &now) < 0 || now.sa_sigaction == on_mapped || now.sa_sigaction == on_sigterm)
        return;
    state.next[number] = now;
    if (!mapped(number) && (now.sa_handler == SIG_IGN || now.sa_handler == SIG_DFL)) {
        if (now.sa_handler == SIG_DFL && getpid() == 1)
            set_action(number, on_guarded);
        return;
    }
    now.sa_sigaction = mapped(number) ? on_mapped : on_sigterm;
    now.sa_flags |= SA_SIGINFO;
    sigaction(number, &now, NULL);
}

static PyObject *set_signal(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    PyObject *old = PyObject_Vectorcall(python_signal, args, (size_t)count, NULL);
    if (old != NULL) {
        long number = PyLong_AsLong(args[0]); /* python_signal has taken it */
        if (number == SIGTERM)
            state.in_charge = args[1] == state.handler;
        chain((int)number);
    }
    return old;
}

/* --- the stages --- */

/* The last to run in exit(3): it was the first to be registered. */
#ifdef HAVE_ON_EXIT
static void at_exit(int status, void *unused)
{
    (void)unused;
    if (!state.ignored && (state.in_charge || state.due))
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
    for (int number = 1; number < PYE_SIGNALS; number++) {
        if (mapped(number))
            chain(number);
    }
#ifdef HAVE_ON_EXIT
    on_exit(at_exit, NULL);
#endif
}

int pye_signals_install(void)
{
    static PyMethodDef definition = {
        .ml_meth = (PyCFunction)(void (*)(void))set_signal,
        .ml_flags = METH_FASTCALL,
    };
    python_signal = pye_replace("_signal", "signal", &definition);
    return python_signal == NULL ? -1 : 0;
}

int pye_sigterm_install(PyObject *handler)
{
    if (state.ignored)
        return 0;
    state.handler = handler;
    PyObject *number = PyLong_FromLong(SIGTERM);
    if (number == NULL)
        return -1;
    PyObject *args[] = {number, handler};
    PyObject *old = set_signal(NULL, args, 2);
    Py_DECREF(number);
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

int pye_sigterm_closing(void)
{
    if (!state.in_charge)
        return 0;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    /* The default, so that CPython's own clean-up has nothing to take back. */
    PyObject *old = PyObject_CallFunction(python_signal, "il", SIGTERM, (long)(intptr_t)SIG_DFL);
    if (old != NULL)
        set_action(SIGTERM, on_closing);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

void pye_signals_after_fork(void)
{
    state.owner = getpid();
    state.taken = 0;
    state.due = 0;
}

/* --- one SIGTERM --- */

bool pye_sigterm_is_ours(void)
{
    return state.in_charge;
}

bool pye_sigterm_take(void)
{
    state.due = 0;
    if (state.taken)
        return false;
    state.taken = 1;
    return true;
}

bool pye_sigterm_taken(void)
{
    return state.taken;
}

bool pye_sigterm_due(void)
{
    return state.due;
}

void pye_sigterm_again(bool deliver)
{
    state.due = 1;
    if (deliver) {
        state.taken = 0;
        kill(getpid(), SIGTERM);
    }
}

int pye_sigterm_code(void)
{
    int status = state.settings.term_status;
    return status == PYE_BY_SIGNAL ? STATUS_BY_SIGNAL + SIGTERM : status;
}

/* A program that caught Terminated and went on to another end has that end. */
bool pye_sigterm_ends(int status)
{
    if (state.taken && state.settings.term_status == PYE_BY_SIGNAL && status == pye_sigterm_code())
        return true;
    return state.due && status == EXIT_SUCCESS;
}

void pye_sigterm_pass_on(void)
{
    switch (state.settings.forward) {
    case PYE_FORWARD_MAIN:
        return;
    case PYE_FORWARD_GROUP:
        if (getpgrp() == getpid()) {
            kill(0, SIGTERM); /* our own copy finds the first one taken */
            return;
        }
        break;
    case PYE_FORWARD_AUTO:
        break;
    }
    size_t count;
    pid_t *children = pye_children(getpid(), &count);
    for (size_t i = 0; i < count; i++)
        kill(children[i], SIGTERM);
    free(children);
}
