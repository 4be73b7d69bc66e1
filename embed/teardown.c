#include "embed/teardown.h"

#include <Python.h>

static bool is_fast, is_frozen;

/* A copy that is never released: nobody's last reference goes. */
static void hide_modules(PyObject *capsule)
{
    PyObject *modules = PyImport_GetModuleDict();
    (void)capsule;
    if (PyDict_Copy(modules) == NULL)
        PyErr_Clear();
    else
        PyDict_Clear(modules);
}

/* Other interpreters end with the objects that stand for them, or that is a fatal error. */
static bool is_alone(void)
{
    return PyInterpreterState_Next(PyInterpreterState_Head()) == NULL;
}

void pye_teardown_configure(bool fast, bool frozen)
{
    is_fast = fast;
    is_frozen = frozen;
}

/* What is frozen would not be finalized: files not flushed, __del__() not called. */
static void unfreeze(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *result = gc == NULL ? NULL : PyObject_CallMethod(gc, "unfreeze", NULL);
    Py_XDECREF(gc);
    Py_XDECREF(result);
    if (result == NULL)
        PyErr_Clear(); /* somebody has put something else in gc's place */
}

static void hurry(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *disabled = gc == NULL ? NULL : PyObject_CallMethod(gc, "disable", NULL);
    PyObject *frozen = disabled == NULL ? NULL : PyObject_CallMethod(gc, "freeze", NULL);
    PyObject *capsule = frozen == NULL ? NULL : PyCapsule_New(&is_fast, NULL, hide_modules);
    /* The interpreter flushes the streams, and begins with the modules by setting names of sys to None: this one is not
     * the program's any more, as gettext's _ is, which a stream may need to flush. */
    int result = capsule == NULL ? -1 : PySys_SetObject("__interactivehook__", capsule);
    Py_XDECREF(capsule);
    Py_XDECREF(frozen);
    Py_XDECREF(disabled);
    Py_XDECREF(gc);
    if (result < 0)
        PyErr_Clear(); /* somebody has put something else in gc's place: the end is python's own */
}

void pye_teardown_begin(void)
{
    if (is_fast && is_alone())
        hurry();
    else if (is_frozen)
        unfreeze();
}
