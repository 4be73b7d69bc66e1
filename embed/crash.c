#include "embed/crash.h"

#include "embed/capture.h"
#include "embed/embed.h"

#include <Python.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static const int fatal[] = {SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL};

enum { FATAL = sizeof fatal / sizeof *fatal };

static struct {
    struct sigaction theirs[FATAL]; /* faulthandler's handlers */
    struct pye_capture capture;
    int number;
    bool prepared;
    volatile sig_atomic_t open;
} crash;

static const char lost[] = "pyentry: a crash, and no descriptor left to say where\n";

/* The handler behind. */
static void after_fault(int number)
{
    if (crash.open)
        pye_capture_send(&crash.capture, PYE_CRITICAL);
    crash.open = 0;
    pye_signal_act_by_default(number);
}

/* The handler in front. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    if (!crash.open) {
        if (pye_capture_open(&crash.capture, crash.number, "", 0))
            crash.open = 1;
        else
            pye_capture_say(lost, sizeof lost - 1, PYE_CRITICAL);
    }
    for (size_t i = 0; i < FATAL; i++) {
        if (fatal[i] != number)
            continue;
        if (crash.theirs[i].sa_flags & SA_SIGINFO)
            crash.theirs[i].sa_sigaction(number, info, context);
        else
            crash.theirs[i].sa_handler(number);
    }
}

void pye_crash_prepare(void)
{
    struct sigaction behind = {.sa_handler = after_fault, .sa_flags = SA_NODEFER | SA_ONSTACK};
    sigemptyset(&behind.sa_mask);
    for (size_t i = 0; i < FATAL; i++)
        sigaction(fatal[i], &behind, NULL);
    crash.prepared = true;
}

static void go_in_front(size_t i)
{
    /* SA_NODEFER: it raises the signal from inside. */
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    sigaction(fatal[i], &ours, &crash.theirs[i]);
}

static bool is_enabled(PyObject *faulthandler)
{
    PyObject *enabled = PyObject_CallMethod(faulthandler, "is_enabled", NULL);
    bool result = enabled == Py_True;
    Py_XDECREF(enabled);
    return result;
}

int pye_crash_install(void)
{
    PyObject *none = NULL;
    if (!crash.prepared)
        return 0;
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    crash.number = pye_capture_number(PYE_CAPTURE_CRASH);
    if (faulthandler != NULL && is_enabled(faulthandler)) {
        none = PyObject_CallMethod(faulthandler, "enable", "i", crash.number);
        for (size_t i = 0; none != NULL && i < FATAL; i++)
            go_in_front(i);
    }
    Py_XDECREF(faulthandler);
    Py_XDECREF(none);
    return PyErr_Occurred() == NULL ? 0 : -1;
}
