#include "embed/print.h"

#include "embed/replace.h"
#include "embed/stdio.h"

#include <stdbool.h>

static PyObject *python_print; /* the one that was replaced */
static PyObject *space, *newline, *write_name, *stdout_name;
static PyObject *text_write; /* TextIOWrapper.write */
static PyObject *sys_dict;   /* for sys.stdout, looked up at each call */

struct request {
    PyObject *const *values;
    Py_ssize_t count;
    PyObject *sep, *end, *file; /* borrowed; sep and end NULL where python would complain */
    bool flush, simple;         /* simple: flush is plain, too */
};

static PyObject *text_or(PyObject *value, PyObject *fallback)
{
    return value == NULL || value == Py_None ? fallback : value;
}

/* Reads the arguments. False where they are python's to complain about, or the file is foreign. */
static bool understand(struct request *request, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    static const char *const known[] = {"sep", "end", "file", "flush"};
    PyObject *value[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);

    for (Py_ssize_t i = 0; i < named; i++) {
        int k = 0;
        while (k < 4 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), known[k]) != 0)
            k++;
        if (k == 4)
            return false;
        value[k] = args[count + i];
    }
    *request = (struct request){.values = args, .count = count, .flush = value[3] == Py_True};
    request->simple = value[3] == NULL || PyBool_Check(value[3]);
    request->sep = text_or(value[0], space);
    request->end = text_or(value[1], newline);
    request->file = value[2] == NULL || value[2] == Py_None ? PyDict_GetItemWithError(sys_dict, stdout_name) : value[2];
    return request->file != NULL && pye_stdio_is_ours(request->file);
}

/* Whether somebody has put a write of their own on the stream: then it sees python's calls. */
static bool write_is_patched(PyObject *file)
{
    PyObject **dict = _PyObject_GetDictPtr(file);
    return dict != NULL && *dict != NULL && PyDict_GetItemWithError(*dict, write_name) != NULL;
}

/* Text whose bytes do not depend on its being written whole or in pieces. */
static bool is_plain(PyObject *value)
{
    return PyUnicode_CheckExact(value) && PyUnicode_IS_READY(value) && PyUnicode_IS_ASCII(value);
}

static bool all_plain(const struct request *request)
{
    if (!request->simple || !is_plain(request->sep) || !is_plain(request->end))
        return false;
    for (Py_ssize_t i = 0; i < request->count; i++) {
        if (!is_plain(request->values[i]))
            return false;
    }
    return true;
}

/* The line, made before anything of it is written. */
static PyObject *make_line(const struct request *request)
{
    if (request->count == 1)
        return PyUnicode_Concat(request->values[0], request->end);
    PyObject *values = PyTuple_New(request->count);
    if (values == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < request->count; i++) {
        Py_INCREF(request->values[i]);
        PyTuple_SET_ITEM(values, i, request->values[i]);
    }
    PyObject *joined = PyUnicode_Join(request->sep, values);
    PyObject *line = joined == NULL ? NULL : PyUnicode_Concat(joined, request->end);
    Py_DECREF(values);
    Py_XDECREF(joined);
    return line;
}

/* Nothing of this can run foreign code before the write: it is one call. */
static PyObject *print_line(const struct request *request)
{
    PyObject *line = make_line(request);
    if (line == NULL)
        return NULL;
    PyObject *args[] = {request->file, line};
    PyObject *result = PyObject_Vectorcall(text_write, args, 2, NULL);
    Py_DECREF(line);
    return result;
}

static PyObject *flushed(PyObject *result, PyObject *file)
{
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    return PyObject_CallMethod(file, "flush", NULL);
}

static PyObject *print(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    struct request request;
    struct pye_hold hold;
    PyObject *result;
    (void)module;
    if (!understand(&request, args, count, names) || write_is_patched(request.file))
        return PyObject_Vectorcall(python_print, args, (size_t)count, names);

    PyObject *file = request.file;
    Py_INCREF(file); /* a __str__ may replace sys.stdout */
    /* A TextIOWrapper that somebody put around our bytes gathers lines unless it was told otherwise: what is printed
     * is out when print returns. An installed stream that was told to gather does as told. */
    bool flush = !pye_stdio_is_installed(file);
    if (!pye_stdio_is_holding() && all_plain(&request)) {
        result = print_line(&request);
        if (flush || request.flush)
            result = flushed(result, file);
    } else {
        pye_stdio_hold(&hold, false);
        result = PyObject_Vectorcall(python_print, args, (size_t)count, names);
        if (flush)
            result = flushed(result, file);
        if (pye_stdio_release(&hold) < 0)
            Py_CLEAR(result);
    }
    Py_DECREF(file);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

static PyMethodDef definition = {
    .ml_meth = (PyCFunction)(void (*)(void))print,
    .ml_flags = METH_FASTCALL | METH_KEYWORDS,
};

int pye_print_install(void)
{
    space = PyUnicode_InternFromString(" ");
    newline = PyUnicode_InternFromString("\n");
    write_name = PyUnicode_InternFromString("write");
    stdout_name = PyUnicode_InternFromString("stdout");
    PyObject *sys = PyImport_ImportModule("sys");
    if (space == NULL || newline == NULL || write_name == NULL || stdout_name == NULL || sys == NULL)
        return -1;
    text_write = pye_stdio_text_write();
    if (text_write == NULL)
        return -1;
    sys_dict = PyModule_GetDict(sys); /* lives as long as the interpreter */
    Py_INCREF(sys_dict);
    Py_DECREF(sys);
    python_print = pye_replace("builtins", "print", &definition);
    return python_print == NULL ? -1 : 0;
}
