#include <Python.h>

#include "embed/bundle/runner.h"

#include "embed/bundle/bundle.h"

#include <stdbool.h>
#include <string.h>

/* --- which module --- */

static PyObject *main_name(void)
{
    size_t at = 0, length;
    const char *name = pye_bundle_line(pye_bundle(), "main", &at, &length);
    return PyUnicode_DecodeUTF8(name == NULL ? "__main__" : name, name == NULL ? 8 : (Py_ssize_t)length, NULL);
}

/* Where a module of that name is looked for: its package's __path__, or None. The package is imported. */
static PyObject *search_path(PyObject *name)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(name), dot = PyUnicode_FindChar(name, '.', 0, length, -1);
    if (dot < 0)
        Py_RETURN_NONE;
    PyObject *parent = PyUnicode_Substring(name, 0, dot);
    PyObject *package = parent == NULL ? NULL : PyImport_Import(parent);
    PyObject *modules = PyImport_GetModuleDict(); /* PyImport_Import gives the topmost package */
    PyObject *module = package == NULL ? NULL : PyDict_GetItemWithError(modules, parent);
    PyObject *path = module == NULL ? NULL : PyObject_GetAttrString(module, "__path__");
    Py_XDECREF(parent);
    Py_XDECREF(package);
    return path;
}

/* The module's spec, or None. */
static PyObject *find_spec(PyObject *name)
{
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib");
    PyObject *path = importlib == NULL ? NULL : search_path(name);
    PyObject *spec = path == NULL ? NULL : PyObject_CallMethod(importlib, "_find_spec", "OO", name, path);
    Py_XDECREF(importlib);
    Py_XDECREF(path);
    return spec;
}

static bool is_package(PyObject *spec)
{
    PyObject *locations = PyObject_GetAttrString(spec, "submodule_search_locations");
    bool result = locations != NULL && locations != Py_None;
    Py_XDECREF(locations);
    PyErr_Clear();
    return result;
}

/* Of a package it is the module __main__ that runs. Sets *name to what was found. */
static PyObject *main_spec(PyObject **name)
{
    PyObject *spec = find_spec(*name);
    if (spec == NULL || spec == Py_None || !is_package(spec))
        return spec;
    Py_DECREF(spec);
    PyObject *below = PyUnicode_FromFormat("%U.__main__", *name);
    if (below == NULL)
        return NULL;
    Py_SETREF(*name, below);
    return find_spec(below);
}

/* --- running it --- */

/* What runpy sets in __main__. */
static int describe(PyObject *dictionary, PyObject *spec)
{
    static const char *const names[][2] = {
        {"__file__", "origin"}, {"__cached__", "cached"}, {"__loader__", "loader"}, {"__package__", "parent"}};
    int result = PyDict_SetItemString(dictionary, "__spec__", spec);
    for (size_t i = 0; result == 0 && i < sizeof names / sizeof *names; i++) {
        PyObject *value = PyObject_GetAttrString(spec, names[i][1]);
        result = value == NULL ? -1 : PyDict_SetItemString(dictionary, names[i][0], value);
        Py_XDECREF(value);
    }
    return result;
}

static PyObject *code_of(PyObject *spec, PyObject *name)
{
    PyObject *loader = PyObject_GetAttrString(spec, "loader");
    PyObject *code = loader == NULL ? NULL : PyObject_CallMethod(loader, "get_code", "O", name);
    Py_XDECREF(loader);
    if (code == Py_None) {
        PyErr_Format(PyExc_ImportError, "no code object available for %S", name);
        Py_CLEAR(code);
    }
    return code;
}

static PyObject *run_spec(PyObject *spec, PyObject *name)
{
    PyObject *module = PyImport_AddModule("__main__");
    PyObject *code = module == NULL ? NULL : code_of(spec, name);
    PyObject *result = NULL;
    if (code != NULL && describe(PyModule_GetDict(module), spec) == 0)
        result = PyEval_EvalCode(code, PyModule_GetDict(module), PyModule_GetDict(module));
    Py_XDECREF(code);
    return result;
}

static PyObject *former; /* runpy, where a snapshot has it */

/* From here on runpy is runpy again. */
static int uninstall(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    int result = former == NULL ? PyDict_DelItemString(modules, "runpy") : PyDict_SetItemString(modules, "runpy", former);
    Py_CLEAR(former);
    return result;
}

static PyObject *run(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (uninstall() < 0)
        return NULL;
    PyObject *name = main_name();
    PyObject *spec = name == NULL ? NULL : main_spec(&name);
    PyObject *result = NULL;
    if (spec == Py_None)
        PyErr_Format(PyExc_ImportError, "the bundle's main module %R is not there", name);
    else if (spec != NULL)
        result = run_spec(spec, name);
    Py_XDECREF(spec);
    Py_XDECREF(name);
    return result;
}

static PyMethodDef methods[] = {
    {"_run_module_as_main", run, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "runpy", .m_size = -1, .m_methods = methods};

int pye_runner_install(void)
{
    PyObject *module = PyModule_Create(&definition), *modules = PyImport_GetModuleDict();
    former = PyDict_GetItemString(modules, "runpy");
    Py_XINCREF(former);
    int result = module == NULL ? -1 : PyDict_SetItemString(modules, "runpy", module);
    Py_XDECREF(module);
    return result;
}
