#include <Python.h>

#include "embed/bundle/shortcut.h"

#include "embed/bundle/importer.h"
#include "embed/replace.h"

#include <stdbool.h>

static PyObject *python_find_spec, *python_module_from_spec; /* which were replaced */

/* What comes before the bundle on sys.meta_path as long as the program leaves that alone, and what each asks. */
static struct {
    PyObject *finder, *has;
} before[] = {{NULL, NULL}, {NULL, NULL}};

enum { BEFORE = sizeof before / sizeof *before };

static PyObject *bundle_importer;
static PyTypeObject *spec_type;

/* --- finding --- */

/* Whether the bundle is asked for this module, before any finder of the program's. */
static bool is_next(PyObject *name)
{
    PyObject *meta_path = PySys_GetObject("meta_path");
    if (meta_path == NULL || !PyList_CheckExact(meta_path) || PyList_GET_SIZE(meta_path) <= BEFORE
        || PyList_GET_ITEM(meta_path, BEFORE) != bundle_importer)
        return false;
    for (Py_ssize_t i = 0; i < BEFORE; i++) {
        if (PyList_GET_ITEM(meta_path, i) != before[i].finder)
            return false;
        PyObject *has = PyObject_CallFunctionObjArgs(before[i].has, name, NULL);
        bool none = has != NULL && PyObject_IsTrue(has) == 0;
        Py_XDECREF(has);
        if (!none) {
            PyErr_Clear();
            return false;
        }
    }
    return true;
}

/* A reload gives the module's spec to the finder, and has its own rules. */
static bool is_reload(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    return !PyDict_CheckExact(modules) || PyDict_Contains(modules, name) != 0;
}

static PyObject *find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)module;
    if (count == 2 && names == NULL && PyUnicode_CheckExact(args[0]) && !is_reload(args[0]) && is_next(args[0])) {
        PyObject *spec = pye_importer_find(args[0], args[1]);
        if (spec != Py_None)
            return spec;
        Py_DECREF(spec);
    }
    PyErr_Clear();
    return PyObject_Vectorcall(python_find_spec, args, (size_t)count, names);
}

/* --- the module --- */

/* The attributes of a module that has a file, in the order in which importlib sets them. */
static struct {
    const char *text, *spec_text;
    bool optional;
    PyObject *name, *spec_name;
} attributes[] = {
    {.text = "__loader__", .spec_text = "loader"},
    {.text = "__package__", .spec_text = "parent"},
    {.text = "__path__", .spec_text = "submodule_search_locations", .optional = true},
    {.text = "__file__", .spec_text = "origin"},
    {.text = "__cached__", .spec_text = "cached", .optional = true},
};

static int describe(PyObject *dictionary, PyObject *spec)
{
    int result = PyDict_SetItemString(dictionary, "__spec__", spec);
    for (size_t i = 0; result == 0 && i < sizeof attributes / sizeof *attributes; i++) {
        PyObject *value = PyObject_GetAttr(spec, attributes[i].spec_name);
        result = value == NULL ? -1 : 0;
        if (result == 0 && !(attributes[i].optional && value == Py_None))
            result = PyDict_SetItem(dictionary, attributes[i].name, value);
        Py_XDECREF(value);
    }
    return result;
}

/* Whether it is as our importer made it: for one of our loaders, of a file. */
static bool is_ours(PyObject *spec)
{
    if (Py_TYPE(spec) != spec_type)
        return false;
    PyObject *loader = PyObject_GetAttr(spec, attributes[0].spec_name);
    PyObject *located = PyObject_GetAttrString(spec, "has_location");
    bool result = loader != NULL && pye_importer_has_made(loader) && located == Py_True;
    Py_XDECREF(loader);
    Py_XDECREF(located);
    PyErr_Clear();
    return result;
}

static PyObject *module_from_spec(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)self;
    if (count != 1 || names != NULL || !is_ours(args[0]))
        return PyObject_Vectorcall(python_module_from_spec, args, (size_t)count, names);
    PyObject *name = PyObject_GetAttrString(args[0], "name");
    PyObject *module = name == NULL ? NULL : PyModule_NewObject(name);
    if (module != NULL && describe(PyModule_GetDict(module), args[0]) < 0)
        Py_CLEAR(module);
    Py_XDECREF(name);
    return module;
}

/* --- setting it up --- */

static int find_finders(PyObject *importlib)
{
    static const char *const finders[BEFORE] = {"BuiltinImporter", "FrozenImporter"};
    static const char *const questions[BEFORE] = {"is_builtin", "is_frozen"};
    PyObject *imp = PyImport_ImportModule("_imp");
    for (size_t i = 0; imp != NULL && i < BEFORE; i++) {
        before[i].finder = PyObject_GetAttrString(importlib, finders[i]);
        before[i].has = PyObject_GetAttrString(imp, questions[i]);
        if (before[i].finder == NULL || before[i].has == NULL)
            Py_CLEAR(imp);
    }
    Py_XDECREF(imp);
    return imp == NULL ? -1 : 0;
}

static int make_names(void)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        attributes[i].name = PyUnicode_InternFromString(attributes[i].text);
        attributes[i].spec_name = PyUnicode_InternFromString(attributes[i].spec_text);
        if (attributes[i].name == NULL || attributes[i].spec_name == NULL)
            return -1;
    }
    return 0;
}

int pye_shortcut_install(PyObject *importer, PyObject *module_spec)
{
    static PyMethodDef finding = {.ml_meth = (PyCFunction)(void (*)(void))find_spec,
                                  .ml_flags = METH_FASTCALL | METH_KEYWORDS};
    static PyMethodDef making = {.ml_meth = (PyCFunction)(void (*)(void))module_from_spec,
                                 .ml_flags = METH_FASTCALL | METH_KEYWORDS};
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib");
    int result = importlib == NULL || find_finders(importlib) < 0 ? -1 : make_names();
    Py_XDECREF(importlib);
    if (result < 0)
        return -1;
    bundle_importer = importer;
    spec_type = (PyTypeObject *)module_spec;
    python_find_spec = pye_replace("_frozen_importlib", "_find_spec", &finding);
    if (python_find_spec != NULL)
        python_module_from_spec = pye_replace("_frozen_importlib", "module_from_spec", &making);
    return python_module_from_spec == NULL ? -1 : 0;
}
