#include "embed/startup.h"

#include "embed/cpus.h"
#include "embed/crash.h"
#include "embed/dispositions.h"
#include "embed/flag.h"
#include "embed/lazy.h"
#include "embed/libm.h"
#include "embed/module.h"
#include "embed/print.h"
#include "embed/report.h"
#include "embed/signals.h"
#include "embed/stdio.h"
#include "embed/system.h"
#include "embed/teardown.h"
#include "embed/terminate.h"
#include "embed/traceback.h"

#include <stdbool.h>

static struct {
    struct pye_settings settings;
    PyObject *finder; /* the module _pyentry until install; nobody has asked for it, so it is not in sys.modules */
    bool over;
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

/* The module __main__ is the program's: what it holds is collected at the exit. So it is made anew, not frozen. */
static int renew_main(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *old = PyDict_GetItemString(modules, "__main__");
    PyObject *new = PyModule_New("__main__");
    int result = -1;
    if (old != NULL && new != NULL && PyDict_Update(PyModule_GetDict(new), PyModule_GetDict(old)) == 0)
        result = PyDict_SetItemString(modules, "__main__", new);
    Py_XDECREF(new);
    return result;
}

static int resume_collector(void)
{
    /* Frozen first, so that the collection that is due has nothing to look at. */
    if (freeze_objects() < 0 || renew_main() < 0)
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

static PyObject *before_fork(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    pye_stdio_before_fork();
    Py_RETURN_NONE;
}

static PyMethodDef after_fork_definition = {"after_fork", after_fork, METH_NOARGS, NULL};
static PyMethodDef before_fork_definition = {"before_fork", before_fork, METH_NOARGS, NULL};

static int register_at_fork(void)
{
    int result = -1;
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *before = PyCFunction_New(&before_fork_definition, NULL);
    PyObject *after = PyCFunction_New(&after_fork_definition, NULL);
    PyObject *method = posix == NULL ? NULL : PyObject_GetAttrString(posix, "register_at_fork");
    PyObject *keywords = before == NULL || after == NULL
                             ? NULL
                             : Py_BuildValue("{sOsO}", "before", before, "after_in_child", after);
    PyObject *nothing = PyTuple_New(0);
    if (method != NULL && keywords != NULL && nothing != NULL) {
        PyObject *none = PyObject_Call(method, nothing, keywords);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    }
    Py_XDECREF(posix);
    Py_XDECREF(before);
    Py_XDECREF(after);
    Py_XDECREF(method);
    Py_XDECREF(keywords);
    Py_XDECREF(nothing);
    return result;
}

/* With no stderr, its descriptor may come to be a file of the program's: nothing is reported then. */
static int keep_reports_off(void)
{
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    PyObject *was = faulthandler == NULL ? NULL : PyObject_CallMethod(faulthandler, "disable", NULL);
    startup.settings.stop_report = 0;
    Py_XDECREF(faulthandler);
    Py_XDECREF(was);
    return was == NULL ? -1 : 0;
}

static int remove_finder(void)
{
    PyObject *path = PySys_GetObject("meta_path");
    PyObject *result = path == NULL ? NULL : PyObject_CallMethod(path, "remove", "O", startup.finder);
    Py_XDECREF(result);
    Py_CLEAR(startup.finder);
    return result == NULL ? -1 : 0;
}

static int install(void)
{
    pye_dispositions_forget();
    /* Before the program, which may leave this root, or all descriptors and memory to others; and for its extension modules,
     * which may use it without naming it: every other python has it loaded. */
    pye_libm_load();
    if (remove_finder() < 0 || resume_collector() < 0)
        return -1;
    if (pye_stdio_install() < 0 || pye_print_install() < 0 || pye_traceback_install() < 0)
        return -1;
    if ((PySys_GetObject("stderr") == Py_None ? keep_reports_off() : pye_crash_install()) < 0)
        return -1;
    if (register_at_fork() < 0 || pye_report_install(startup.settings.stop_report, startup.settings.supervised) < 0)
        return -1;
    if (pye_signals_install() < 0)
        return -1;
    pye_teardown_configure(startup.settings.fast_exit == PYE_ON, false);
    /* With -i a person waits for the prompt after the program: SIGTERM keeps python's meaning. */
    if (pye_terminate_install(pye_flag("inspect")) < 0)
        return -1;
    if (pye_system_install() < 0)
        return -1;
    /* The last: from 3.13 on it imports os, which takes the functions of posix as they are then. */
    return pye_cpus_install(startup.settings.cpus);
}

/* --- when --- */

static bool is_named(PyObject *name, const char *wanted)
{
    return PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, wanted) == 0;
}

PyObject *pye_startup_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    bool site = count > 0 && is_named(args[0], "site");
    /* With -W, warnings comes first, and may have something to say about it. */
    if (site || (count > 0 && is_named(args[0], "warnings"))) {
        if (install() < 0 || (site && pye_lazy_import("warnings") < 0))
            return NULL;
    }
    Py_RETURN_NONE;
}

int pye_startup_begin(const struct pye_settings *settings)
{
    startup.settings = *settings;
    pause_collector();
    startup.finder = pye_module_create();
    PyObject *path = PySys_GetObject("meta_path");
    return startup.finder == NULL || path == NULL ? -1 : PyList_Insert(path, 0, startup.finder);
}

int pye_startup_finish(void)
{
    if (startup.finder != NULL && (install() < 0 || pye_lazy_import("warnings") < 0))
        return -1;
    startup.over = true;
    return 0;
}

bool pye_startup_is_over(void)
{
    return startup.over;
}
