#include "embed/terminate.h"

#include "embed/replace.h"
#include "embed/signals.h"

static PyObject *terminated_type;
static PyObject *python_exit; /* the posix._exit that was replaced */
static bool passed_on;        /* a SIGTERM that comes again is not new to the children */

PyDoc_STRVAR(terminated_doc,
             "A SIGTERM arrived. Raised once, in the main thread; where nothing else is made of it, the process\n"
             "ends by SIGTERM when finally blocks, context managers and atexit functions have run.");

PyObject *pye_terminated_type(void)
{
    if (terminated_type == NULL)
        terminated_type =
            PyErr_NewExceptionWithDoc("pyentry.Terminated", terminated_doc, PyExc_SystemExit, NULL);
    Py_XINCREF(terminated_type);
    return terminated_type;
}

bool pye_terminated_is_set(void)
{
    return terminated_type != NULL && PyErr_ExceptionMatches(terminated_type);
}

/* --- the handler --- */

static PyObject *terminate(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    (void)args;
    (void)count;
    if (!pye_sigterm_take())
        Py_RETURN_NONE;
    if (!passed_on)
        pye_sigterm_pass_on();
    passed_on = true;
    PyObject *type = pye_terminated_type();
    PyObject *code = PyLong_FromLong(pye_sigterm_code());
    if (type != NULL && code != NULL)
        PyErr_SetObject(type, code);
    Py_XDECREF(type);
    Py_XDECREF(code);
    return NULL;
}

PyDoc_STRVAR(terminate_doc, "pyentry's handler for SIGTERM: raises pyentry.Terminated, once.");

static PyMethodDef terminate_definition = {
    "terminate", (PyCFunction)(void (*)(void))terminate, METH_FASTCALL, terminate_doc};

bool pye_terminated_swallowed(PyObject *type)
{
    if (terminated_type == NULL || type != terminated_type)
        return false;
    /* A finalizer or a callback, in the middle of a program; or the interpreter's shutdown, below no frame. */
    pye_sigterm_again(PyEval_GetFrame() != NULL);
    return true;
}

/* --- the ways out --- */

/* multiprocessing's forked children leave this way, with the code of the SystemExit. */
static PyObject *exit_at_once(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)module;
    if (pye_sigterm_taken() && count == 1 && PyLong_Check(args[0])) {
        long status = PyLong_AsLong(args[0]);
        PyErr_Clear(); /* too large: python's _exit says so */
        if (status == pye_sigterm_code() && pye_sigterm_ends((int)status))
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
    if (pye_sigterm_closing() < 0)
        return NULL;
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

int pye_terminate_install(void)
{
    PyObject *module = PyUnicode_FromString("pyentry");
    PyObject *handler = module == NULL ? NULL : PyCFunction_NewEx(&terminate_definition, NULL, module);
    Py_XDECREF(module);
    if (handler == NULL || pye_sigterm_install(handler) < 0)
        return -1;
    python_exit = pye_replace("posix", "_exit", &exit_at_once_definition);
    return python_exit == NULL ? -1 : register_close_down();
}
