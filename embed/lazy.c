#include "embed/lazy.h"

#include "embed/finalizing.h"
#include "embed/subtype.h"

#include <signal.h>

/* Makes a plain module of it, before its code runs and looks for itself. */
static int become_plain(PyObject *module)
{
    PyObject *name = PyUnicode_InternFromString("__class__");
    int result = name == NULL ? -1 : PyObject_GenericSetAttr(module, name, (PyObject *)&PyModule_Type);
    Py_XDECREF(name);
    return result;
}

/* As the import system would: other threads that import it wait until it is whole. */
static int execute(PyObject *importlib, PyObject *spec, PyObject *module)
{
    if (PyObject_SetAttrString(spec, "_initializing", Py_True) < 0 ||
        PyObject_SetAttrString(module, "__spec__", spec) < 0)
        return -1;
    PyObject *same = PyObject_CallMethod(importlib, "_exec", "OO", spec, module);
    int result = same == NULL ? -1 : 0;
    Py_XDECREF(same);
    if (result == 0)
        result = PyObject_SetAttrString(spec, "_initializing", Py_False);
    return result;
}

static int load(PyObject *module)
{
    PyObject *name = PyModule_GetNameObject(module);
    PyObject *importlib = name == NULL ? NULL : PyImport_ImportModule("_frozen_importlib");
    PyObject *spec = NULL;
    int result = -1;
    if (importlib != NULL && become_plain(module) == 0)
        spec = PyObject_CallMethod(importlib, "_find_spec", "OO", name, Py_None);
    if (spec == Py_None)
        PyErr_Format(PyExc_ModuleNotFoundError, "No module named '%U'", name);
    else if (spec != NULL)
        result = execute(importlib, spec, module);
    if (result < 0 && name != NULL) { /* whoever needs it tries anew */
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (PyDict_DelItem(PyImport_GetModuleDict(), name) < 0)
            PyErr_Clear();
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(spec);
    Py_XDECREF(importlib);
    Py_XDECREF(name);
    return result;
}

/* While the interpreter is taken down there are no imports, and no one who needs them. Signals come a moment later: the
 * import statement, which looks for __spec__, drops what it finds there, and would go on with half a module. */
static int look(PyObject *module)
{
    sigset_t all, before;
    if (pye_finalizing())
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int result = load(module);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static PyObject *get(PyObject *module, PyObject *name)
{
    return look(module) < 0 ? NULL : PyModule_Type.tp_getattro(module, name);
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
