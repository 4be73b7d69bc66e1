#include <Python.h>

#include "embed/bundle/patterns.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/importer.h"
#include "embed/bundle/tree.h"
#include "embed/replace.h"

#include <marshal.h>
#include <stdbool.h>

#if PY_VERSION_HEX >= 0x030B0000
#define COMPILER "re._compiler"
#else
#define COMPILER "sre_compile"
#endif

enum { OF_BYTES = 1 << 30 }; /* as the builder has it */

static PyObject *table;          /* {(flags, text): the marshalled arguments of make} */
static PyObject *make;           /* _sre.compile */
static PyObject *python_compile; /* which was replaced */

/* --- looking up --- */

/* The marshalled arguments, borrowed; NULL, with no exception, where the table has none. */
static PyObject *find(PyObject *text, PyObject *flags)
{
    int overflow;
    long value = flags == NULL ? 0 : PyLong_AsLongAndOverflow(flags, &overflow);
    if (value < 0 || value >= OF_BYTES)
        return NULL;
    PyObject *key = Py_BuildValue("(lO)", PyBytes_CheckExact(text) ? value | OF_BYTES : value, text);
    PyObject *data = key == NULL ? NULL : PyDict_GetItemWithError(table, key);
    Py_XDECREF(key);
    return data;
}

/* The pattern, or NULL with an exception; or without, where it is none of ours. */
static PyObject *look_up(PyObject *text, PyObject *flags)
{
    if (!(PyUnicode_CheckExact(text) || PyBytes_CheckExact(text)) || !(flags == NULL || PyLong_CheckExact(flags)))
        return NULL;
    PyObject *data = find(text, flags);
    if (data == NULL)
        return NULL;
    PyObject *arguments = PyMarshal_ReadObjectFromString(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
    PyObject *pattern = arguments == NULL ? NULL : PyObject_CallObject(make, arguments);
    Py_XDECREF(arguments);
    return pattern;
}

static PyObject *compile(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    (void)module;
    PyObject *pattern = NULL;
    if (names == NULL && (count == 1 || count == 2))
        pattern = look_up(args[0], count == 2 ? args[1] : NULL);
    if (pattern != NULL || PyErr_Occurred())
        return pattern;
    return PyObject_Vectorcall(python_compile, args, (size_t)count, names);
}

/* --- when re is imported --- */

/* The one that all know: a copy that somebody has made is left alone. */
static bool is_compiler(PyObject *dictionary)
{
    PyObject *name = PyDict_GetItemString(dictionary, "__name__");
    if (name == NULL || !PyUnicode_Check(name) || PyUnicode_CompareWithASCIIString(name, COMPILER) != 0)
        return false;
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), COMPILER);
    return module != NULL && PyModule_Check(module) && PyModule_GetDict(module) == dictionary;
}

static int read_table(const struct pye_entry *entry)
{
    const char *data = pye_tree_read(entry);
    if (data == NULL) {
        pye_importer_damaged();
        return -1;
    }
    Py_XSETREF(table, PyMarshal_ReadObjectFromString(data, (Py_ssize_t)entry->size));
    return table == NULL ? -1 : 0;
}

int pye_patterns_follow(PyObject *dictionary)
{
    static PyMethodDef definition = {.ml_meth = (PyCFunction)(void (*)(void))compile,
                                     .ml_flags = METH_FASTCALL | METH_KEYWORDS};
    if (!is_compiler(dictionary))
        return 0;
    const struct pye_entry *entry =
        pye_archive_find(&pye_bundle()->archive, PYE_BUNDLE_PATTERNS, sizeof PYE_BUNDLE_PATTERNS - 1);
    if (entry == NULL)
        return 0;
    PyObject *sre = PyImport_ImportModule("_sre");
    Py_XSETREF(make, sre == NULL ? NULL : PyObject_GetAttrString(sre, "compile"));
    Py_XDECREF(sre);
    if (make == NULL || read_table(entry) < 0)
        return -1;
    Py_XSETREF(python_compile, pye_replace(COMPILER, "compile", &definition));
    return python_compile == NULL ? -1 : 0;
}
