#include "config.h"

#include "embed/module.h"

#include <Python.h>

#include "embed/cpus.h"
#include "embed/frozen.h"
#include "embed/startup.h"
#include "embed/terminate.h"

#include <stdlib.h>
#include <string.h>

static PyMethodDef methods[] = {
    {"find_spec", (PyCFunction)(void (*)(void))pye_startup_find_spec, METH_FASTCALL, NULL},
    {"limits", pye_cpus_limits, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_pyentry",
    .m_doc = "The part of pyentry that is written in C.",
    .m_size = -1,
    .m_methods = methods,
};

PyObject *pye_module_create(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *terminated = pye_terminated_type();
    if (module == NULL || terminated == NULL || PyModule_AddObject(module, "Terminated", terminated) < 0
        || PyModule_AddStringConstant(module, "version", PACKAGE_VERSION) < 0) {
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
