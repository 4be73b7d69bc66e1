#include "config.h"

#include "embed/module.h"

#include <Python.h>

#include "embed/bundle/bundle.h"
#include "embed/bundle/mark.h"
#include "embed/cpus.h"
#include "embed/frozen.h"
#include "embed/snapshot/libraries.h"
#include "embed/snapshot/process.h"
#include "embed/snapshot/take.h"
#include "embed/startup.h"
#include "embed/terminate.h"

#include <stdlib.h>
#include <string.h>

/* For the builder of bundles: the bytes in the executable that say where the archive is. */
static PyObject *bundle_mark(PyObject *module, PyObject *args)
{
    unsigned long long offset, size;
    unsigned long directory;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKk", &offset, &size, &directory))
        return NULL;
    struct pye_mark mark = pye_mark_make(offset, size, (uint32_t)directory);
    return PyBytes_FromStringAndSize((const char *)&mark, sizeof mark);
}

static PyMethodDef methods[] = {
    {"bundle_mark", bundle_mark, METH_VARARGS, NULL},
    {"find_spec", (PyCFunction)(void (*)(void))pye_startup_find_spec, METH_FASTCALL, NULL},
    {"limits", pye_cpus_limits, METH_NOARGS, NULL},
    {"note_twister", pye_snapshot_note_twister, METH_VARARGS, NULL},
    {"environment", pye_process_environment, METH_NOARGS, NULL},
    {"watch", pye_process_watch, METH_VARARGS, NULL},
    {"find_libraries", pye_snapshot_find_libraries, METH_NOARGS, NULL},
    {"renew_libraries", pye_snapshot_renew_libraries, METH_O, NULL},
    {"take", pye_snapshot_take, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_pyentry",
    .m_doc = "The part of pyentry that is written in C.",
    .m_size = -1,
    .m_methods = methods,
};

/* Where the program runs from a bundle, the path below which that has its files; else None. */
static int add_bundle(PyObject *module)
{
    const struct pye_bundle *bundle = pye_bundle();
    PyObject *path = bundle == NULL ? Py_None : PyUnicode_DecodeFSDefault(bundle->root);
    if (bundle == NULL)
        Py_INCREF(path);
    if (path != NULL && PyModule_AddObject(module, "bundle", path) == 0)
        return 0;
    Py_XDECREF(path);
    return -1;
}

PyObject *pye_module_create(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *terminated = pye_terminated_type();
    if (module == NULL || terminated == NULL || PyModule_AddObject(module, "Terminated", terminated) < 0
        || PyModule_AddStringConstant(module, "version", PACKAGE_VERSION) < 0
        || PyModule_AddStringConstant(module, "loader", PYE_LOADER) < 0 || add_bundle(module) < 0) {
        Py_XDECREF(module);
        Py_XDECREF(terminated);
        return NULL;
    }
    return module;
}

/* Puts our frozen modules behind those that this Python keeps in the public table. */
static int append_frozen(void)
{
    static const struct _frozen none = {0};
    size_t theirs = 0, ours = sizeof pye_frozen / sizeof *pye_frozen;
    while (PyImport_FrozenModules != NULL && PyImport_FrozenModules[theirs].name != NULL)
        theirs++;
    struct _frozen *all = malloc((theirs + ours + 1) * sizeof *all);
    if (all == NULL)
        return -1;
    if (theirs > 0)
        memcpy(all, PyImport_FrozenModules, theirs * sizeof *all);
    memcpy(all + theirs, pye_frozen, ours * sizeof *all);
    all[theirs + ours] = none;
    PyImport_FrozenModules = all;
    return 0;
}

int pye_module_register(void)
{
    return append_frozen() < 0 ? -1 : PyImport_AppendInittab("_pyentry", pye_module_create);
}
