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
    PyObject *sep, *end, *file, *flush; /* borrowed; flush may be NULL */
};

/* The value of a sep or end argument; NULL where python would complain. */
static PyObject *text_or(PyObject *value, PyObject *fallback)
{
    if (value == NULL || value == Py_None)
        return fallback;
    return PyUnicode_Check(value) ? value : NULL;
}

/* Reads the arguments. False where python's print should have them: to complain, or for a foreign file. */
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
    *request = (struct request){.values = args, .count = count, .flush = value[3]};
    request->sep = text_or(value[0], space);
    request->end = text_or(value[1], newline);
    request->file = value[2] == NULL || value[2] == Py_None ? PyDict_GetItemWithError(sys_dict, stdout_name) : value[2];
    return request->sep != NULL && request->end != NULL && request->file != NULL
           && pye_stdio_is_ours(request->file);
}

/* Whether somebody has put a write of their own on the stream: then it sees python's calls. */
static bool write_is_patched(PyObject *file)
{
    PyObject **dict = _PyObject_GetDictPtr(file);
    return dict != NULL && *dict != NULL && PyDict_GetItemWithError(*dict, write_name) != NULL;
}

static int write_text(const struct request *request, PyObject *text)
{
    PyObject *args[] = {request->file, text};
    PyObject *result = PyObject_Vectorcall(text_write, args, 2, NULL);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    return 0;
}

/* The first count values as strings. On an exception *made says how many there are. */
static PyObject *strings_of(const struct request *request, Py_ssize_t *made)
{
    PyObject *strings = PyList_New(0);
    for (*made = 0; strings != NULL && *made < request->count; ++*made) {
        PyObject *string = PyObject_Str(request->values[*made]);
        int result = string == NULL ? -1 : PyList_Append(strings, string);
        Py_XDECREF(string);
        if (result < 0)
            break;
    }
    return strings;
}

/* A value could not be turned into a string: what python would have printed before it is printed. */
static void write_up_to_failure(const struct request *request, PyObject *strings, Py_ssize_t made)
{
    PyObject *type, *value, *traceback;
    if (made == 0)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *joined = PyUnicode_Join(request->sep, strings);
    PyObject *text = joined == NULL ? NULL : PyUnicode_Concat(joined, request->sep);
    if (text == NULL || write_text(request, text) < 0)
        PyErr_Clear(); /* the exception that is reported came first */
    Py_XDECREF(joined);
    Py_XDECREF(text);
    PyErr_Restore(type, value, traceback);
}

/* The characters cannot all be encoded, and nothing is out yet: python's print gets as far as it can, and
 * complains about the piece that it is. */
static int write_in_pieces(const struct request *request, PyObject *const *strings, Py_ssize_t count)
{
    PyObject *none = NULL;
    PyErr_Clear();
    PyObject *arguments = PyTuple_New(count);
    PyObject *keywords = Py_BuildValue("{sOsOsO}", "sep", request->sep, "end", request->end, "file", request->file);
    for (Py_ssize_t i = 0; arguments != NULL && i < count; i++) {
        Py_INCREF(strings[i]);
        PyTuple_SET_ITEM(arguments, i, strings[i]);
    }
    if (arguments != NULL && keywords != NULL)
        none = PyObject_Call(python_print, arguments, keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* The common case: no list. */
static int print_one(const struct request *request)
{
    PyObject *string = PyObject_Str(request->values[0]);
    PyObject *text = string == NULL ? NULL : PyUnicode_Concat(string, request->end);
    int result = text == NULL ? -1 : write_text(request, text);
    if (result < 0 && text != NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        result = write_in_pieces(request, &string, 1);
    Py_XDECREF(string);
    Py_XDECREF(text);
    return result;
}

static int print_many(const struct request *request)
{
    int result = -1;
    Py_ssize_t made;
    PyObject *strings = strings_of(request, &made);
    if (strings == NULL)
        return -1;
    if (made < request->count) {
        write_up_to_failure(request, strings, made);
    } else {
        PyObject *joined = PyUnicode_Join(request->sep, strings);
        PyObject *text = joined == NULL ? NULL : PyUnicode_Concat(joined, request->end);
        if (text != NULL)
            result = write_text(request, text);
        if (result < 0 && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            result = write_in_pieces(request, PySequence_Fast_ITEMS(strings), made);
        Py_XDECREF(joined);
        Py_XDECREF(text);
    }
    Py_DECREF(strings);
    return result;
}

/* A TextIOWrapper that somebody put around our bytes gathers lines unless it was told otherwise: what is printed
 * is out when print returns. An installed stream that was told to gather does as told. */
static int settle(const struct request *request)
{
    int flush = request->flush == NULL ? 0 : PyObject_IsTrue(request->flush);
    if (flush < 0)
        return -1;
    if (!flush && pye_stdio_is_installed(request->file))
        return 0;
    PyObject *none = PyObject_CallMethod(request->file, "flush", NULL);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static PyObject *print(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    struct request request;
    (void)module;
    if (!understand(&request, args, count, names) || write_is_patched(request.file))
        return PyObject_Vectorcall(python_print, args, (size_t)count, names);
    Py_INCREF(request.file); /* a __str__ may replace sys.stdout */
    int result = count == 1 ? print_one(&request) : print_many(&request);
    if (result == 0)
        result = settle(&request);
    Py_DECREF(request.file);
    if (result < 0)
        return NULL;
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
