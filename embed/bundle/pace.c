#include "embed/bundle/pace.h"

#include <Python.h>

enum { IMPORT_THRESHOLD = 20000 };

static struct {
    int depth; /* of imports, in all threads together */
    PyObject *before, *during, *gc;
} pace;

int pye_pace_slow_down(void)
{
    if (pace.depth++ > 0)
        return 0;
    if (pace.gc == NULL)
        pace.gc = PyImport_ImportModuleLevel("gc", NULL, NULL, NULL, 0) /* past a hook of the program's */;
    if (pace.gc == NULL)
        return -1;
    pace.before = PyObject_CallMethod(pace.gc, "get_threshold", NULL);
    if (pace.before == NULL || !PyTuple_Check(pace.before) || PyTuple_GET_SIZE(pace.before) != 3)
        return -1;
    long first = PyLong_AsLong(PyTuple_GET_ITEM(pace.before, 0));
    if (first <= 0 || first >= IMPORT_THRESHOLD)
        return PyErr_Occurred() ? -1 : 0;
    pace.during = Py_BuildValue("(iOO)", IMPORT_THRESHOLD, PyTuple_GET_ITEM(pace.before, 1),
                                PyTuple_GET_ITEM(pace.before, 2));
    PyObject *none = pace.during == NULL ? NULL : PyObject_CallMethod(pace.gc, "set_threshold", "O", pace.during);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

void pye_pace_speed_up(void)
{
    PyObject *type, *value, *traceback;
    if (--pace.depth > 0)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *now = pace.during == NULL ? NULL : PyObject_CallMethod(pace.gc, "get_threshold", NULL);
    PyObject *none = NULL;
    if (now != NULL && PyObject_RichCompareBool(now, pace.during, Py_EQ) == 1)
        none = PyObject_CallMethod(pace.gc, "set_threshold", "O", pace.before);
    Py_XDECREF(none);
    Py_XDECREF(now);
    Py_CLEAR(pace.before);
    Py_CLEAR(pace.during);
    PyErr_Restore(type, value, traceback);
}
