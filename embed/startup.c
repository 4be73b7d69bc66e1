#include "embed/startup.h"

#include "embed/print.h"
#include "embed/report.h"
#include "embed/signals.h"
#include "embed/stdio.h"
#include "embed/terminate.h"
#include "embed/traceback.h"

#include <stdbool.h>

static struct {
    struct pye_settings settings;
    bool installed;
} startup;

/* --- the garbage collector --- */

/* Start-up makes thousands of objects, hardly any garbage, and all of it lives until the end. So nothing is
 * collected before foreign code runs, and what was made is frozen: no collection looks through it again, and it
 * stays shared with forked children. */

static void pause_collector(void)
{
#if PY_VERSION_HEX >= 0x030A0000
    PyGC_Disable();
#endif
}

static int freeze_objects(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *none = gc == NULL ? NULL : PyObject_CallMethod(gc, "freeze", NULL);
    Py_XDECREF(gc);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static int resume_collector(void)
{
    if (freeze_objects() < 0) /* first: the collection that is due finds nothing to look at */
        return -1;
#if PY_VERSION_HEX >= 0x030A0000
    PyGC_Enable();
#endif
    return 0;
}

/* --- the changes --- */

static PyObject *after_fork(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    pye_signals_after_fork();
    pye_report_after_fork();
    pye_stdio_after_fork();
    Py_RETURN_NONE;
}

static PyMethodDef after_fork_definition = {"after_fork", after_fork, METH_NOARGS, NULL};

static int register_after_fork(void)
{
    int result = -1;
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *function = PyCFunction_New(&after_fork_definition, NULL);
    PyObject *method = posix == NULL ? NULL : PyObject_GetAttrString(posix, "register_at_fork");
    PyObject *keywords = function == NULL ? NULL : Py_BuildValue("{sO}", "after_in_child", function);
    PyObject *nothing = PyTuple_New(0);
    if (method != NULL && keywords != NULL && nothing != NULL) {
        PyObject *none = PyObject_Call(method, nothing, keywords);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    }
    Py_XDECREF(posix);
    Py_XDECREF(function);
    Py_XDECREF(method);
    Py_XDECREF(keywords);
    Py_XDECREF(nothing);
    return result;
}

/* With -i a person waits for the prompt after the program: SIGTERM keeps python's meaning. */
static bool inspecting(void)
{
    PyObject *flags = PySys_GetObject("flags");
    PyObject *inspect = flags == NULL ? NULL : PyObject_GetAttrString(flags, "inspect");
    bool result = inspect != NULL && PyObject_IsTrue(inspect) == 1;
    PyErr_Clear();
    Py_XDECREF(inspect);
    return result;
}

/* Without the module, the interpreter writes a warning of its own in half a dozen pieces. */
static void import_warnings(void)
{
    PyObject *warnings = PyImport_ImportModule("warnings");
    if (warnings == NULL)
        PyErr_Clear(); /* whoever needs it will say what is wrong */
    Py_XDECREF(warnings);
}

static int install(void)
{
    startup.installed = true;
    if (resume_collector() < 0)
        return -1;
    if (pye_stdio_install() < 0 || pye_print_install() < 0 || pye_traceback_install() < 0)
        return -1;
    import_warnings();
    if (register_after_fork() < 0 || pye_report_install(startup.settings.stop_report) < 0)
        return -1;
    if (pye_signals_install() < 0)
        return -1;
    return inspecting() ? 0 : pye_terminate_install();
}

/* --- when --- */

static int remove_finder(PyObject *finder)
{
    PyObject *path = PySys_GetObject("meta_path");
    PyObject *result = path == NULL ? NULL : PyObject_CallMethod(path, "remove", "O", finder);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

PyObject *pye_startup_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count > 0 && PyUnicode_Check(args[0]) && PyUnicode_CompareWithASCIIString(args[0], "site") == 0) {
        if (remove_finder(module) < 0 || install() < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

int pye_startup_begin(const struct pye_settings *settings)
{
    startup.settings = *settings;
    pause_collector();
    PyObject *finder = PyImport_ImportModule("_pyentry");
    PyObject *path = PySys_GetObject("meta_path");
    int result = finder == NULL || path == NULL ? -1 : PyList_Insert(path, 0, finder);
    Py_XDECREF(finder);
    return result;
}

int pye_startup_finish(void)
{
    if (!startup.installed) {
        PyObject *finder = PyImport_ImportModule("_pyentry");
        int result = finder == NULL ? -1 : remove_finder(finder);
        Py_XDECREF(finder);
        if (result < 0 || install() < 0)
            return -1;
    }
    return freeze_objects();
}
