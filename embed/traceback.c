#include "embed/traceback.h"

#include "embed/replace.h"
#include "embed/stdio.h"
#include "embed/terminate.h"

/* python's own hooks, which ours call */
static PyObject *python_excepthook, *python_unraisablehook, *python_threadhook;

static PyObject *in_one_piece(PyObject *hook, PyObject *const *args, Py_ssize_t count)
{
    pye_stdio_hold();
    PyObject *result = PyObject_Vectorcall(hook, args, (size_t)count, NULL);
    if (pye_stdio_release() < 0) { /* the hook's own exception, or a signal handler's while the text was written */
        Py_CLEAR(result);
        if (pye_terminated_is_set() && pye_terminated_swallowed(PyErr_Occurred())) {
            PyErr_Clear();
            Py_RETURN_NONE;
        }
    }
    return result;
}

static PyObject *excepthook(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return in_one_piece(python_excepthook, args, count);
}

static PyObject *threadhook(PyObject *module, PyObject *arguments)
{
    (void)module;
    return in_one_piece(python_threadhook, &arguments, 1);
}

static PyObject *unraisablehook(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *type = PyObject_GetAttrString(arguments, "exc_type");
    if (type == NULL)
        PyErr_Clear(); /* python's hook says what it wants */
    bool quiet = type != NULL && pye_terminated_is(type); /* it is raised again: see terminate.c */
    Py_XDECREF(type);
    if (quiet)
        Py_RETURN_NONE;
    return in_one_piece(python_unraisablehook, &arguments, 1);
}

static PyMethodDef excepthook_definition = {
    .ml_meth = (PyCFunction)(void (*)(void))excepthook,
    .ml_flags = METH_FASTCALL,
};
static PyMethodDef unraisablehook_definition = {.ml_meth = unraisablehook, .ml_flags = METH_O};
static PyMethodDef threadhook_definition = {.ml_meth = threadhook, .ml_flags = METH_O};

/* sys keeps a second reference to each of its hooks, which programs compare with and go back to. */
static PyObject *replace_in_sys(const char *name, const char *second_name, PyMethodDef *definition)
{
    PyObject *theirs = pye_replace("sys", name, definition);
    if (theirs != NULL && PySys_SetObject(second_name, PySys_GetObject(name)) < 0)
        Py_CLEAR(theirs);
    return theirs;
}

int pye_traceback_install(void)
{
    python_excepthook = replace_in_sys("excepthook", "__excepthook__", &excepthook_definition);
    python_unraisablehook = replace_in_sys("unraisablehook", "__unraisablehook__", &unraisablehook_definition);
    python_threadhook = pye_replace("_thread", "_excepthook", &threadhook_definition);
    return python_excepthook == NULL || python_unraisablehook == NULL || python_threadhook == NULL ? -1 : 0;
}
