#include "embed/crash.h"

#include "embed/capture.h"
#include "embed/embed.h"
#include "embed/replace.h"
#include "launcher/json.h"

#include <Python.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

static const int fatal[] = {SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL};

enum { FATAL = sizeof fatal / sizeof *fatal };

static struct {
    struct sigaction theirs[FATAL]; /* faulthandler's handlers */
    struct pye_capture capture;
    int number;
    bool prepared;
    volatile sig_atomic_t open;
} crash;

static PyObject *python_enable; /* the faulthandler.enable that was replaced */

enum { LINE_BYTES = 100 };

/* The handler behind. */
static void after_fault(int number)
{
    if (crash.open)
        pye_capture_send(&crash.capture, PYE_CRITICAL);
    crash.open = 0;
    pye_signal_act_by_default(number);
}

/* Without a descriptor: faulthandler would write to whatever the program has under the number. */
static void dump_and_end(int number)
{
    char line[LINE_BYTES];
    struct pye_json text = {.out = line, .room = sizeof line};
    signal(number, SIG_DFL); /* a fault in here is the end */
    pye_json_raw(&text, "pyentry: a crash by signal ");
    pye_json_number(&text, number);
    pye_json_raw(&text, ", and no descriptor left for an entry; where each thread is:\n");
    pye_capture_say(line, text.length, PYE_CRITICAL);
    pye_capture_dump();
    pye_signal_act_by_default(number);
}

/* The handler in front. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    if (!crash.open && !pye_capture_open(&crash.capture, crash.number, "", 0)) {
        dump_and_end(number);
        return;
    }
    crash.open = 1;
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

static void go_in_front(void)
{
    /* SA_NODEFER: it raises the signal from inside. */
    struct sigaction now, ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    for (size_t i = 0; i < FATAL; i++) {
        sigaction(fatal[i], &ours, &now);
        if (now.sa_sigaction != on_fault)
            crash.theirs[i] = now;
    }
}

/* Enables it again, with these arguments but for the file. */
static PyObject *write_to_memory(PyObject *args, PyObject *keywords)
{
    PyObject *result = NULL, *ours = Py_BuildValue("(i)", crash.number);
    PyObject *others = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    PyObject *all = ours == NULL || others == NULL ? NULL : PySequence_Concat(ours, others);
    PyObject *names = keywords == NULL ? PyDict_New() : PyDict_Copy(keywords);
    if (names != NULL && PyDict_DelItemString(names, "file") < 0)
        PyErr_Clear();
    if (all != NULL && names != NULL)
        result = PyObject_Call(python_enable, all, names);
    if (result != NULL)
        go_in_front();
    Py_XDECREF(ours);
    Py_XDECREF(others);
    Py_XDECREF(all);
    Py_XDECREF(names);
    return result;
}

/* Many programs enable faulthandler by themselves: with stderr it stays as it is, another file is the program's. */
static PyObject *enable(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    PyObject *file = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : NULL;
    PyObject *result = PyObject_Call(python_enable, args, keywords);
    if (file == NULL && keywords != NULL)
        file = PyDict_GetItemString(keywords, "file");
    if (file == NULL || file == Py_None)
        file = PySys_GetObject("stderr");
    if (result == NULL)
        return NULL;
    if (file == NULL || PyObject_AsFileDescriptor(file) != STDERR_FILENO) {
        PyErr_Clear();
        return result;
    }
    Py_DECREF(result);
    return write_to_memory(args, keywords);
}

static PyMethodDef enable_definition = {
    .ml_meth = (PyCFunction)(void (*)(void))enable,
    .ml_flags = METH_VARARGS | METH_KEYWORDS,
};

static bool is_enabled(PyObject *faulthandler)
{
    PyObject *enabled = PyObject_CallMethod(faulthandler, "is_enabled", NULL);
    bool result = enabled == Py_True;
    Py_XDECREF(enabled);
    return result;
}

int pye_crash_install(void)
{
    if (!crash.prepared)
        return 0;
    if (pye_capture_install() < 0)
        return -1;
    crash.number = pye_capture_number(PYE_CAPTURE_CRASH);
    python_enable = pye_replace("faulthandler", "enable", &enable_definition);
    PyObject *faulthandler = python_enable == NULL ? NULL : PyImport_ImportModule("faulthandler");
    if (faulthandler != NULL && is_enabled(faulthandler)) {
        PyObject *none = PyObject_CallMethod(faulthandler, "enable", NULL);
        Py_XDECREF(none);
    }
    Py_XDECREF(faulthandler);
    return PyErr_Occurred() == NULL ? 0 : -1;
}

static int turn(PyObject *faulthandler, const char *how)
{
    PyObject *result = faulthandler == NULL ? NULL : PyObject_CallMethod(faulthandler, how, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int pye_crash_resume(bool on, bool as_json)
{
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    int result = faulthandler == NULL ? -1 : 0;
    if (result == 0 && (!on || as_json))
        result = turn(faulthandler, "disable");
    if (result == 0 && on && as_json) {
        pye_crash_prepare();
        result = turn(faulthandler, "enable") < 0 ? -1 : pye_crash_install();
    }
    Py_XDECREF(faulthandler);
    return result;
}
