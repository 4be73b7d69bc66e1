#include "embed/traceback.h"

#include "embed/replace.h"
#include "embed/signals.h"
#include "embed/stdio.h"
#include "embed/terminate.h"
#include "launcher/log.h"

#include <stdbool.h>
#include <string.h>

/* python's own hooks, which ours call */
static PyObject *python_excepthook, *python_unraisablehook, *python_threadhook;

/* --- as JSON --- */

/* A new reference, or NULL without an exception. The hook wrote to sys.stderr, which may be the program's own wrapper
 * of the stream, or an object without an encoding that hands on to ours. */
static PyObject *find_encoding(void)
{
    static const char *const names[] = {"stderr", "__stderr__"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PyObject *file = PySys_GetObject(names[i]);
        PyObject *encoding = file == NULL ? NULL : PyObject_GetAttrString(file, "encoding");
        if (encoding != NULL && PyUnicode_Check(encoding))
            return encoding;
        Py_XDECREF(encoding);
        PyErr_Clear();
    }
    return NULL;
}

/* The text in UTF-8, a new reference: stderr may have another encoding. */
static PyObject *in_utf8(const char *text, size_t length)
{
    PyObject *encoding = find_encoding();
    PyObject *decoded = NULL, *utf8 = NULL;
    const char *name = encoding == NULL ? NULL : PyUnicode_AsUTF8(encoding);
    if (name != NULL && strcmp(name, "utf-8") != 0)
        decoded = PyUnicode_Decode(text, (Py_ssize_t)length, name, "replace");
    if (decoded != NULL)
        utf8 = PyUnicode_AsEncodedString(decoded, "utf-8", "replace");
    if (utf8 == NULL) {
        PyErr_Clear(); /* as it is, then: what is no UTF-8 does no harm */
        utf8 = PyBytes_FromStringAndSize(text, (Py_ssize_t)length);
    }
    Py_XDECREF(encoding);
    Py_XDECREF(decoded);
    return utf8;
}

/* Puts a JSON line in the place of what a hook wrote behind the first bytes. */
static int make_entry(size_t from)
{
    int result = -1;
    PyObject *utf8 = in_utf8(pye_stdio_held_text() + from, pye_stdio_held() - from);
    char *line = PyMem_RawMalloc(PYE_LOG_ENTRY_BYTES);
    if (utf8 != NULL && line != NULL) {
        struct pye_log_entry entry = {.severity = PYE_ERROR, .exception = true,
                                      .mid_line = from == 0 && pye_stdio_is_mid_line(),
                                      .text = PyBytes_AS_STRING(utf8), .length = (size_t)PyBytes_GET_SIZE(utf8)};
        result = pye_stdio_replace_held(from, line, pye_log_make(line, PYE_LOG_ENTRY_BYTES, &entry));
    }
    PyMem_RawFree(line);
    Py_XDECREF(utf8);
    return result;
}

/* The exception that is set stays. Without memory the text stays, too. */
static void make_entry_of_new(size_t from)
{
    PyObject *type, *value, *traceback;
    pye_stdio_hold_firmly(false);
    if (pye_stdio_held() <= from)
        return; /* the program has another sys.stderr, or none */
    PyErr_Fetch(&type, &value, &traceback);
    if (make_entry(from) < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
}

/* --- the hooks --- */

/* A hook may end up in another, when what it calls fails: that is part of what it says. */
static _Thread_local int depth;

static PyObject *in_one_piece(PyObject *hook, PyObject *const *args, Py_ssize_t count)
{
    struct pye_hold hold;
    pye_stdio_hold(&hold, true);
    size_t from = pye_stdio_held();
    /* At a prompt, where sys has a ps1, a person reads it. */
    bool entry = depth++ == 0 && pye_log_is_json() && PySys_GetObject("ps1") == NULL;
    if (entry)
        pye_stdio_hold_firmly(true);
    PyObject *result = PyObject_Vectorcall(hook, args, (size_t)count, NULL);
    depth--;
    if (entry)
        make_entry_of_new(from);
    if (pye_stdio_release(&hold) < 0) { /* the hook's own exception, or a signal handler's while the text was written */
        Py_CLEAR(result);
        if (pye_terminated_is_set() && pye_terminated_swallowed(PyErr_Occurred())) {
            PyErr_Clear();
            Py_RETURN_NONE;
        }
    }
    return result;
}

static PyObject *excepthook(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return in_one_piece(python_excepthook, args, count);
}

static bool is_of_terminated(PyObject *arguments)
{
    PyObject *type = PyObject_GetAttrString(arguments, "exc_type");
    if (type == NULL)
        PyErr_Clear(); /* python's hook says what it wants */
    bool result = type != NULL && pye_terminated_is(type);
    Py_XDECREF(type);
    return result;
}

/* A process that was forked in a thread ends with that thread, by its SIGTERM: the interpreter is not there any more. */
static PyObject *threadhook(PyObject *module, PyObject *arguments)
{
    (void)module;
    if (!is_of_terminated(arguments))
        return in_one_piece(python_threadhook, &arguments, 1);
    pye_sigterm_again(false);
    Py_RETURN_NONE;
}

static PyObject *unraisablehook(PyObject *module, PyObject *arguments)
{
    (void)module;
    if (is_of_terminated(arguments)) /* it is raised again: see terminate.c */
        Py_RETURN_NONE;
    return in_one_piece(python_unraisablehook, &arguments, 1);
}

static PyMethodDef excepthook_definition = {
    .ml_meth = (PyCFunction)(void (*)(void))excepthook,
    .ml_flags = METH_FASTCALL,
};
static PyMethodDef unraisablehook_definition = {.ml_meth = unraisablehook, .ml_flags = METH_O};
static PyMethodDef threadhook_definition = {.ml_meth = threadhook, .ml_flags = METH_O};

/* sys keeps a second reference to each of its hooks, which programs compare with and go back to. */
static PyObject *replace_in_sys(const char *name, const char *second_name, PyMethodDef *definition)
{
    PyObject *theirs = pye_replace("sys", name, definition);
    if (theirs != NULL && PySys_SetObject(second_name, PySys_GetObject(name)) < 0)
        Py_CLEAR(theirs);
    return theirs;
}

int pye_traceback_install(void)
{
    python_excepthook = replace_in_sys("excepthook", "__excepthook__", &excepthook_definition);
    python_unraisablehook = replace_in_sys("unraisablehook", "__unraisablehook__", &unraisablehook_definition);
    python_threadhook = pye_replace("_thread", "_excepthook", &threadhook_definition);
    return python_excepthook == NULL || python_unraisablehook == NULL || python_threadhook == NULL ? -1 : 0;
}
