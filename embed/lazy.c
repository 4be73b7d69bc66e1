#include "embed/lazy.h"

#include "embed/finalizing.h"
#include "embed/subtype.h"

#include <signal.h>
#include <stdbool.h>

static unsigned long finder; /* the thread that looks for the file; 0: none */

static PyObject *get(PyObject *module, PyObject *name);

static bool is_lazy(PyObject *module)
{
    return Py_TYPE(module)->tp_getattro == get;
}

/* Not by way of set() below. */
static int become(PyObject *module, PyTypeObject *type)
{
    PyObject *name = PyUnicode_InternFromString("__class__");
    int result = name == NULL ? -1 : PyObject_GenericSetAttr(module, name, (PyObject *)type);
    Py_XDECREF(name);
    return result;
}

static int done(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int fill_in(PyObject *importlib, PyObject *module, PyObject *spec)
{
    PyObject *function = PyObject_GetAttrString(importlib, "_init_module_attrs");
    PyObject *arguments = PyTuple_Pack(2, spec, module);
    PyObject *keywords = Py_BuildValue("{sO}", "override", Py_True);
    int result = -1;
    if (function != NULL && arguments != NULL && keywords != NULL)
        result = done(PyObject_Call(function, arguments, keywords));
    Py_XDECREF(function);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    return result;
}

/* The import system's own _exec takes the module out of sys.modules and puts it back, which ends the loop of whoever
 * goes through sys.modules and looks at each. It is for loaders of old, which know nothing else: Python 3.9's
 * zipimport. */
static int execute(PyObject *importlib, PyObject *spec, PyObject *module)
{
    PyObject *loader = PyObject_GetAttrString(spec, "loader");
    int result = -1;
    if (loader != NULL && PyObject_HasAttrString(loader, "exec_module"))
        result = done(PyObject_CallMethod(loader, "exec_module", "O", module));
    else if (loader != NULL)
        result = done(PyObject_CallMethod(importlib, "_exec", "OO", spec, module));
    Py_XDECREF(loader);
    return result;
}

/* Its spec, which is the module's __spec__ then. */
static PyObject *find(PyObject *importlib, PyObject *module, PyObject *name)
{
    PyObject *spec = PyObject_CallMethod(importlib, "_find_spec", "OO", name, Py_None);
    if (spec == Py_None)
        PyErr_Format(PyExc_ModuleNotFoundError, "No module named '%U'", name);
    else if (spec != NULL && PyObject_SetAttrString(spec, "_initializing", Py_True) == 0 &&
             fill_in(importlib, module, spec) == 0)
        return spec;
    Py_XDECREF(spec);
    return NULL;
}

static int call(PyObject *lock, const char *method)
{
    return done(PyObject_CallMethod(lock, method, NULL));
}

/* An exception stays what it is. */
static void give_back(PyObject *lock, const char *method)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    call(lock, method);
    PyErr_Restore(type, value, traceback);
}

/* The import system's lock comes first, since it finds files under it: who gets here in the middle of such a search may
 * be waited for by the one who has the module's. When the module is no longer lazy, its __spec__ says that it is not
 * whole, and the module's lock is held: the import statement of another thread waits for that.
 *
 * The spec, and the lock is held; or NULL, without an exception where another thread was there first. */
static PyObject *begin(PyObject *importlib, PyObject *module, PyObject *name, PyObject *lock)
{
    PyObject *spec = NULL;
    PyObject *imp = PyImport_ImportModule("_imp");
    if (imp != NULL && call(imp, "acquire_lock") == 0) {
        if (is_lazy(module) && call(lock, "__enter__") == 0) {
            finder = PyThread_get_thread_ident();
            spec = find(importlib, module, name);
            finder = 0;
            if (spec != NULL && become(module, &PyModule_Type) < 0)
                Py_CLEAR(spec);
            if (spec == NULL)
                give_back(lock, "__exit__");
        }
        give_back(imp, "release_lock");
    }
    Py_XDECREF(imp);
    return spec;
}

/* Where that fails the module is lazy again, and whoever needs it tries anew. It stays in sys.modules, too. */
static int finish(PyObject *importlib, PyObject *module, PyObject *spec, PyTypeObject *lazy)
{
    PyObject *type, *value, *traceback;
    if (execute(importlib, spec, module) == 0 && PyObject_SetAttrString(spec, "_initializing", Py_False) == 0)
        return 0;
    PyErr_Fetch(&type, &value, &traceback);
    become(module, lazy);
    PyErr_Restore(type, value, traceback);
    return -1;
}

/* Another thread was there first: until it has executed the module, as the import statement does. */
static int wait_for_other(PyObject *lock)
{
    return call(lock, "__enter__") < 0 ? -1 : call(lock, "__exit__");
}

static int load(PyObject *module)
{
    PyTypeObject *lazy = Py_TYPE(module);
    PyObject *name = PyModule_GetNameObject(module);
    PyObject *importlib = name == NULL ? NULL : PyImport_ImportModule("_frozen_importlib");
    PyObject *lock = importlib == NULL ? NULL : PyObject_CallMethod(importlib, "_ModuleLockManager", "O", name);
    Py_INCREF(lazy);
    PyObject *spec = lock == NULL ? NULL : begin(importlib, module, name, lock);
    int result = PyErr_Occurred() ? -1 : spec == NULL ? wait_for_other(lock) : 0;
    if (spec != NULL) {
        result = finish(importlib, module, spec, lazy);
        give_back(lock, "__exit__");
    }
    Py_DECREF(lazy);
    Py_XDECREF(spec);
    Py_XDECREF(lock);
    Py_XDECREF(importlib);
    Py_XDECREF(name);
    return result;
}

/* While the interpreter is taken down there are no imports, and no one who needs them; and what looks for the file has
 * to do without. Signals come a moment later: the import statement, which looks for __spec__, drops what it finds
 * there, and would go on with half a module. */
static int look(PyObject *module)
{
    sigset_t all, before;
    if (pye_finalizing() || finder == PyThread_get_thread_ident())
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int result;
    do
        result = load(module);
    while (result == 0 && is_lazy(module)); /* the other thread has failed */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* What the interpreter itself looks for, for a warning of its own. It does without where the module has none. */
static bool is_optional(PyObject *name)
{
    static const char *const names[] = {"__spec__", "filters", "defaultaction", "onceregistry", "_showwarnmsg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return true;
    }
    return false;
}

static PyObject *get(PyObject *module, PyObject *name)
{
    if (look(module) < 0) {
        if (!is_optional(name) || !PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear(); /* without a descriptor to spare, a warning that nobody wants to see is no error */
    }
    return PyModule_Type.tp_getattro(module, name);
}

static int set(PyObject *module, PyObject *name, PyObject *value)
{
    return look(module) < 0 ? -1 : PyModule_Type.tp_setattro(module, name, value);
}

static PyType_Slot slots[] = {
    {Py_tp_getattro, get},
    {Py_tp_setattro, set},
    {0, NULL},
};

static PyType_Spec specification = {
    .name = "pyentry.LazyModule",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

int pye_lazy_import(const char *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_GetItemString(modules, name) != NULL)
        return 0;
    PyObject *type = pye_subtype((PyObject *)&PyModule_Type, &specification);
    PyObject *module = type == NULL ? NULL : PyObject_CallFunction(type, "s", name);
    int result = module == NULL ? -1 : PyDict_SetItemString(modules, name, module);
    Py_XDECREF(type);
    Py_XDECREF(module);
    return result;
}
