#include "embed/terminate.h"

#include "embed/place.h"
#include "embed/replace.h"
#include "embed/report.h"
#include "embed/signals.h"
#include "embed/stdio.h"
#include "embed/subtype.h"
#include "embed/teardown.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyObject *terminated_type;
static PyObject *raised;      /* the Terminated that was raised last; not a reference */
static PyObject *python_exit; /* the posix._exit that was replaced */

static char terminated_doc[] =
    "A SIGTERM arrived. Raised once, in the main thread; where nothing else is made of it, the process\n"
    "ends by SIGTERM when finally blocks, context managers and atexit functions have run.";

/* Terminated() has the code, too. */
static int terminated_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    initproc base = ((PyTypeObject *)PyExc_SystemExit)->tp_init;
    if (PyTuple_GET_SIZE(args) > 0)
        return base(self, args, keywords);
    PyObject *code = Py_BuildValue("(i)", pye_sigterm_code());
    int result = code == NULL ? -1 : base(self, code, keywords);
    Py_XDECREF(code);
    return result;
}

static int raise_later(void *unused);

/* C code may have dropped it, to go on or to raise an error of its own. */
static void terminated_finalize(PyObject *self)
{
    PyObject *type, *value, *traceback;
    if (self != raised)
        return;
    PyErr_Fetch(&type, &value, &traceback); /* the error of its own */
    raised = NULL;
    if (pye_place_unseen(self) && pye_terminated_swallowed((PyObject *)Py_TYPE(self)) && PyEval_GetFrame() != NULL)
        Py_AddPendingCall(raise_later, NULL); /* when that C code has returned */
    PyErr_Restore(type, value, traceback);
}

/* Who pickles it wants to send it elsewhere and go on: the workers of concurrent.futures do that with whatever a task
 * raises, and take the next. It is raised again instead. */
static PyObject *terminated_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (pye_sigterm_taken() && syscall(SYS_gettid) == getpid()) {
        PyErr_SetObject((PyObject *)Py_TYPE(self), self);
        return NULL;
    }
    return PyObject_CallMethod(PyExc_SystemExit, "__reduce__", "O", self);
}

static PyMethodDef terminated_methods[] = {
    {"__reduce__", terminated_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot terminated_slots[] = {
    {Py_tp_doc, terminated_doc},
    {Py_tp_init, terminated_init},
    {Py_tp_finalize, terminated_finalize},
    {Py_tp_methods, terminated_methods},
    {0, NULL},
};

static PyType_Spec terminated_spec = {
    .name = "pyentry.Terminated",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = terminated_slots,
};

PyObject *pye_terminated_type(void)
{
    if (terminated_type == NULL)
        terminated_type = pye_subtype(PyExc_SystemExit, &terminated_spec);
    Py_XINCREF(terminated_type);
    return terminated_type;
}

bool pye_terminated_is_set(void)
{
    return terminated_type != NULL && PyErr_ExceptionMatches(terminated_type);
}

/* --- the handler --- */

/* Audit hooks learn of an unraisable exception before sys.unraisablehook does, and whoever has replaced that. */
static int on_audit(const char *event, PyObject *args, void *unused)
{
    (void)unused;
    if (strcmp(event, "sys.unraisablehook") != 0 || PyTuple_GET_SIZE(args) < 2)
        return 0;
    PyObject *type = PyObject_GetAttrString(PyTuple_GET_ITEM(args, 1), "exc_type");
    if (type == NULL)
        PyErr_Clear();
    else
        pye_terminated_swallowed(type);
    Py_XDECREF(type);
    return 0;
}

/* Not earlier: with an audit hook the interpreter does more all the time. */
static void watch_unraisable(void)
{
    static bool watching;
    if (!watching && PySys_AddAuditHook(on_audit, NULL) < 0)
        PyErr_Clear();
    watching = true;
}

static PyObject *raise_terminated(enum pye_place place)
{
    if (!pye_sigterm_take())
        Py_RETURN_NONE;
    watch_unraisable();
    if (place == PYE_BEFORE_PROGRAM)
        Py_Exit(pye_sigterm_code());
#if PY_VERSION_HEX < 0x030A0000 /* an atexit function's SystemExit is dropped without a word */
    if (place == PYE_AFTER_PROGRAM)
        pye_sigterm_again(false);
#endif
    PyObject *type = pye_terminated_type();
    raised = type == NULL ? NULL : PyObject_CallObject(type, NULL);
    if (raised != NULL) /* whole: the interpreter takes an exception without a value for exit status 0 */
        PyErr_SetObject(type, raised);
    Py_XDECREF(raised);
    Py_XDECREF(type);
    return NULL;
}

static PyObject *raise_in_loop(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return raise_terminated(PYE_IN_PROGRAM);
}

static PyMethodDef raise_in_loop_definition = {"terminate", raise_in_loop, METH_NOARGS, NULL};

/* The event loop that runs raises it in a callback, from which it comes out whole; false where none runs. */
static bool leave_to_event_loop(void)
{
    PyObject *loop = pye_place_event_loop();
    PyObject *callback = loop == NULL ? NULL : PyCFunction_New(&raise_in_loop_definition, NULL);
    PyObject *handle = callback == NULL ? NULL : PyObject_CallMethod(loop, "call_soon_threadsafe", "O", callback);
    bool result = handle != NULL;
    PyErr_Clear(); /* a loop that is closed, say */
    Py_XDECREF(handle);
    Py_XDECREF(callback);
    Py_XDECREF(loop);
    return result;
}

/* What a loop has called may block, and the loop never come to the callback: only the next signal ends that. */
static bool loop_will_raise(enum pye_place place)
{
    if (place == PYE_BELOW_LOOP && !pye_sigterm_comes_again())
        return false;
    return (place == PYE_IN_EVENT_LOOP || place == PYE_BELOW_LOOP) && leave_to_event_loop();
}

/* Between two instructions, but perhaps of the machinery still. */
static int raise_later(void *unused)
{
    (void)unused;
    if (pye_sigterm_taken())
        return 0;
    enum pye_place place = pye_place_find();
    if (loop_will_raise(place))
        return 0;
    if (place == PYE_IN_MACHINERY) {
#if PY_VERSION_HEX < 0x030D0000 /* later ones would call it again and again here; the signal comes again, too */
        Py_AddPendingCall(raise_later, NULL);
#endif
        return 0;
    }
    PyObject *result = raise_terminated(place);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether it will be raised in a moment, at a place where it does not get lost, or the process end in a moment. It stays due
 * till then: should the moment not come, the signal comes again by itself. The import system may also sleep, until another
 * thread has imported; an atexit function may have nothing else to do but to wait, and only the signal calls us then. The
 * child of a subprocess.run() has seconds: it was told to clean up, and the exception would kill it at that. */
static bool can_wait(enum pye_place place)
{
    if (place != PYE_BEFORE_PROGRAM && pye_sigterm_waits_for(pye_place_child()))
        return true;
    if (!pye_sigterm_is_fresh())
        return false;
    if (place == PYE_AFTER_PROGRAM)
        return pye_sigterm_comes_again();
    if (place == PYE_IN_MACHINERY)
        return Py_AddPendingCall(raise_later, NULL) == 0;
    return loop_will_raise(place);
}

static PyObject *terminate(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    static bool looking; /* which calls Python, where the signal may come again */
    (void)module;
    (void)args;
    (void)count;
    if (looking || pye_sigterm_taken())
        Py_RETURN_NONE;
    looking = true;
    pye_sigterm_pass_on();
    bool serves = pye_place_is_fork_server();
    if (serves) /* its clients get the exit codes of its children from it; when they are gone it ends by itself */
        pye_sigterm_dismiss();
    enum pye_place place = pye_place_find();
    bool waits = serves || can_wait(place);
    looking = false;
    if (waits)
        Py_RETURN_NONE;
    return raise_terminated(place);
}

PyDoc_STRVAR(terminate_doc, "pyentry's handler for SIGTERM: raises pyentry.Terminated, once.");

static PyMethodDef terminate_definition = {
    "terminate", (PyCFunction)(void (*)(void))terminate, METH_FASTCALL, terminate_doc};

bool pye_terminated_is(PyObject *type)
{
    return type == terminated_type;
}

bool pye_terminated_swallowed(PyObject *type)
{
    if (!pye_terminated_is(type) || !pye_sigterm_taken())
        return false;
    /* A finalizer or a callback, in the middle of a program; or the interpreter's shutdown, below no frame. */
    pye_sigterm_again(PyEval_GetFrame() != NULL);
    return true;
}

/* --- forked children --- */

static PyObject *python_fork, *python_forkpty; /* those of posix that were replaced */

/* Whether the function that called us is the standard library's multiprocessing. */
static bool called_by_multiprocessing(void)
{
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */
    PyCodeObject *code = frame == NULL ? NULL : PyFrame_GetCode(frame);
    const char *file = code == NULL ? NULL : PyUnicode_AsUTF8(code->co_filename);
    bool result = file != NULL && strstr(file, "/multiprocessing/") != NULL;
    PyErr_Clear(); /* a file name that is no text */
    Py_XDECREF(code);
    return result;
}

static PyObject *adoption; /* multiprocessing's registry has an entry for as long as this lives */

static PyObject *adopt(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    pye_signals_adopt();
    Py_CLEAR(adoption);
    Py_RETURN_NONE;
}

static PyMethodDef adopt_definition = {"adopt", adopt, METH_O, NULL};

/* multiprocessing calls what is registered there when it is ready for an exception. */
static int adopt_later(void)
{
    PyObject *util = PyImport_ImportModule("multiprocessing.util");
    PyObject *function = PyCFunction_New(&adopt_definition, NULL);
    PyObject *none = NULL;
    Py_XSETREF(adoption, PySet_New(NULL)); /* of those objects that can have a weak reference the simplest */
    if (util != NULL && function != NULL && adoption != NULL)
        none = PyObject_CallMethod(util, "register_after_fork", "OO", adoption, function);
    Py_XDECREF(util);
    Py_XDECREF(function);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* After all hooks have run in the child. */
static PyObject *forked(PyObject *result, bool child)
{
    if (result == NULL || !child)
        return result;
    if (!called_by_multiprocessing())
        pye_signals_adopt();
    else if (adopt_later() < 0)
        Py_CLEAR(result);
    return result;
}

static PyObject *fork_and_adopt(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyObject *pid = PyObject_CallObject(python_fork, NULL);
    return forked(pid, pid != NULL && PyLong_AsLong(pid) == 0);
}

static PyObject *forkpty_and_adopt(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyObject *pair = PyObject_CallObject(python_forkpty, NULL);
    return forked(pair, pair != NULL && PyLong_AsLong(PyTuple_GET_ITEM(pair, 0)) == 0);
}

static PyMethodDef fork_definition = {.ml_meth = fork_and_adopt, .ml_flags = METH_NOARGS};
static PyMethodDef forkpty_definition = {.ml_meth = forkpty_and_adopt, .ml_flags = METH_NOARGS};

/* --- the ways out --- */

/* Whether the exception that is being handled, by a finally perhaps, is Terminated. */
static bool handling_terminated(void)
{
    PyObject *type, *value, *traceback;
    PyErr_GetExcInfo(&type, &value, &traceback);
    PyObject *actual = type != NULL ? type : value == NULL ? NULL : (PyObject *)Py_TYPE(value);
    bool result = actual != NULL && pye_terminated_is(actual);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return result;
}

/* multiprocessing's forked children leave this way, with the code of the SystemExit, or, where it came up outside of the
 * place for that, with 1. */
static PyObject *exit_at_once(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)module;
    pye_stdio_leave();
    if (pye_sigterm_taken() && count == 1 && PyLong_Check(args[0])) {
        long status = PyLong_AsLong(args[0]);
        PyErr_Clear(); /* too large: python's _exit says so */
        if (status == pye_sigterm_code() && pye_sigterm_ends((int)status))
            pye_sigterm_end();
        if (status == 1 && handling_terminated() && called_by_multiprocessing())
            pye_sigterm_end();
    }
    return PyObject_Vectorcall(python_exit, args, (size_t)count, names);
}

static PyMethodDef exit_at_once_definition = {
    .ml_meth = (PyCFunction)(void (*)(void))exit_at_once,
    .ml_flags = METH_FASTCALL | METH_KEYWORDS,
};

/* The first function given to atexit, so the last that it calls. */
static PyObject *close_down(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    /* Somebody called atexit._run_exitfuncs(): this is not the end. */
    if (PyEval_GetFrame() != NULL)
        Py_RETURN_NONE;
    if (PyErr_CheckSignals() < 0) {
        if (!pye_terminated_is_set())
            return NULL;
        PyErr_Clear();
        pye_sigterm_again(false);
    }
    if (pye_stdio_close_down() < 0)
        return NULL;
    pye_report_disarm();
    if (pye_sigterm_closing() < 0)
        return NULL;
    pye_teardown_begin();
    Py_RETURN_NONE;
}

static PyMethodDef close_down_definition = {"close_down", close_down, METH_NOARGS, NULL};

static int register_close_down(void)
{
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *function = PyCFunction_New(&close_down_definition, NULL);
    PyObject *result = NULL;
    if (atexit != NULL && function != NULL)
        result = PyObject_CallMethod(atexit, "register", "O", function);
    Py_XDECREF(atexit);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int install_handler(void)
{
    PyObject *module = PyUnicode_FromString("pyentry");
    PyObject *handler = module == NULL ? NULL : PyCFunction_NewEx(&terminate_definition, NULL, module);
    Py_XDECREF(module);
    return handler == NULL ? -1 : pye_sigterm_install(handler);
}

int pye_terminate_install(bool by_default)
{
    if ((by_default ? pye_sigterm_default() : install_handler()) < 0)
        return -1;
    /* With the default action, too: the program may install a handler of its own, and fork. */
    python_exit = pye_replace("posix", "_exit", &exit_at_once_definition);
    python_fork = pye_replace("posix", "fork", &fork_definition);
    python_forkpty = pye_replace("posix", "forkpty", &forkpty_definition);
    if (python_exit == NULL || python_fork == NULL || python_forkpty == NULL)
        return -1;
    return register_close_down();
}
