#include "embed/place.h"

#include "embed/signals.h"
#include "embed/startup.h"

#include <frameobject.h>
#include <opcode.h>
#include <string.h>

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool of_import_system(PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    const char *file = PyUnicode_AsUTF8(code->co_filename);
    if (file == NULL) /* a name that is no text */
        PyErr_Clear();
    Py_DECREF(code);
    return file != NULL && (begins_with(file, "<frozen importlib") || begins_with(file, "<frozen zipimport"));
}

/* The frame at the bottom of the stack, a new reference; NULL where there is none. */
static PyFrameObject *bottom_frame(void)
{
    PyFrameObject *bottom = NULL, *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame != NULL) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_XDECREF(bottom);
        bottom = frame;
        frame = back;
    }
    return bottom;
}

static bool is_named(PyFrameObject *frame, const char *name)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool result = PyUnicode_CompareWithASCIIString(code->co_name, name) == 0;
    Py_DECREF(code);
    return result;
}

/* The module whose code it is; NULL where that has no name. It lives as long as the frame. */
static const char *module_of(PyFrameObject *frame)
{
    PyObject *globals = PyObject_GetAttrString((PyObject *)frame, "f_globals");
    PyObject *name = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__"); /* borrowed */
    const char *text = name == NULL || !PyUnicode_Check(name) ? NULL : PyUnicode_AsUTF8(name);
    if (text == NULL)
        PyErr_Clear();
    Py_XDECREF(globals);
    return text;
}

static bool is_of(PyFrameObject *frame, const char *name)
{
    const char *module = module_of(frame);
    return module != NULL && strcmp(module, name) == 0;
}

/* The program has ended, but for its threads. */
static bool waits_for_threads(PyFrameObject *frame)
{
    return is_named(frame, "_shutdown") && is_of(frame, "threading");
}

static enum pye_place place_by_bottom(void)
{
    enum pye_place place = PYE_IN_PROGRAM;
    PyFrameObject *bottom = bottom_frame();
    if (bottom == NULL)
        return place;
    if (of_import_system(bottom))
        place = pye_startup_is_over() ? PYE_BEFORE_PROGRAM : PYE_IN_PROGRAM;
    else if (!is_named(bottom, "<module>") && !is_named(bottom, "_run_module_as_main") && !waits_for_threads(bottom))
        place = PYE_AFTER_PROGRAM;
    Py_DECREF(bottom);
    return place;
}

/* asyncio's own code, or the selector in which its loop waits. */
static bool of_asyncio(PyFrameObject *frame)
{
    const char *module = module_of(frame);
    PyFrameObject *back = PyFrame_GetBack(frame);
    if (module != NULL && back != NULL && strcmp(module, "selectors") == 0)
        module = module_of(back);
    Py_XDECREF(back);
    return module != NULL && begins_with(module, "asyncio.");
}

PyObject *pye_place_event_loop(void)
{
    PyObject *name = PyUnicode_FromString("asyncio");
    PyObject *asyncio = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *loop = asyncio == NULL ? NULL : PyObject_CallMethod(asyncio, "_get_running_loop", NULL);
    PyErr_Clear(); /* it is being imported, say */
    Py_XDECREF(asyncio);
    Py_XDECREF(name);
    if (loop == Py_None)
        Py_CLEAR(loop);
    return loop;
}

static bool below_event_loop(void)
{
    PyObject *loop = pye_place_event_loop();
    Py_XDECREF(loop);
    return loop != NULL;
}

/* Its instructions, a new reference; NULL and an exception where there is no memory. */
static PyObject *instructions_of(PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *bytes = PyObject_GetAttrString((PyObject *)code, "co_code");
    Py_DECREF(code);
    return bytes;
}

/* Whether what the instruction raised is being handled: Python 3.10 looks for signals on its way into an except clause,
 * and hardly anywhere else in a loop of such clauses. */
static bool has_raised(PyFrameObject *frame, Py_ssize_t offset)
{
    PyObject *type, *value, *traceback;
    PyErr_GetExcInfo(&type, &value, &traceback);
    bool result = false;
    if (traceback != NULL && PyTraceBack_Check(traceback)) {
        PyTracebackObject *last = (PyTracebackObject *)traceback;
        result = last->tb_frame == frame && last->tb_lasti == offset;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return result;
}

static bool executes_import_from(PyFrameObject *frame)
{
    bool result = false;
    PyObject *bytes = instructions_of(frame);
    PyObject *last = PyObject_GetAttrString((PyObject *)frame, "f_lasti");
    if (bytes != NULL && last != NULL) {
        Py_ssize_t offset = PyLong_AsSsize_t(last);
        if (offset >= 0 && offset < PyBytes_GET_SIZE(bytes))
            result = (unsigned char)PyBytes_AS_STRING(bytes)[offset] == IMPORT_FROM && !has_raised(frame, offset);
    }
    Py_XDECREF(last);
    Py_XDECREF(bytes);
    return result;
}

enum pye_place pye_place_find(void)
{
    enum pye_place place = place_by_bottom();
    PyFrameObject *frame = PyEval_GetFrame();
    if (place != PYE_IN_PROGRAM || frame == NULL)
        return place;
    Py_INCREF(frame);
    if (of_asyncio(frame))
        place = PYE_IN_EVENT_LOOP;
    else if (of_import_system(frame) || is_named(frame, "__set_name__") || executes_import_from(frame))
        place = PYE_IN_MACHINERY;
    else if (below_event_loop())
        place = PYE_BELOW_LOOP;
    PyErr_Clear(); /* what cannot be found out is no reason to lose a SIGTERM */
    Py_DECREF(frame);
    return place;
}

/* The process of the subprocess.Popen under this name; 0 before it is there. */
static pid_t child_of(PyFrameObject *frame, const char *name)
{
    PyObject *locals = PyObject_GetAttrString((PyObject *)frame, "f_locals");
    PyObject *process = locals == NULL ? NULL : PyMapping_GetItemString(locals, name);
    PyObject *pid = process == NULL ? NULL : PyObject_GetAttrString(process, "pid");
    long number = pid == NULL ? 0 : PyLong_AsLong(pid);
    PyErr_Clear();
    Py_XDECREF(pid);
    Py_XDECREF(process);
    Py_XDECREF(locals);
    return number > 0 ? (pid_t)number : 0;
}

static bool runs_child(PyFrameObject *frame)
{
    return (is_named(frame, "run") || is_named(frame, "call")) && is_of(frame, "subprocess");
}

/* The frame that called this one, whose reference it takes over. */
static PyFrameObject *caller_of(PyFrameObject *frame)
{
    PyFrameObject *back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    return back;
}

/* The innermost frame of that kind, a new reference; NULL where there is none. */
static PyFrameObject *find_frame(bool (*is_wanted)(PyFrameObject *frame))
{
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame != NULL && !is_wanted(frame))
        frame = caller_of(frame);
    return frame;
}

pid_t pye_place_child(void)
{
    PyFrameObject *frame = find_frame(runs_child);
    pid_t child = frame == NULL ? 0 : child_of(frame, is_named(frame, "run") ? "process" : "p");
    Py_XDECREF(frame);
    return child;
}

static bool serves_forks(PyFrameObject *frame)
{
    return is_named(frame, "main") && is_of(frame, "multiprocessing.forkserver");
}

bool pye_place_is_fork_server(void)
{
    PyFrameObject *frame = pye_signals_forked() ? NULL : find_frame(serves_forks);
    Py_XDECREF(frame);
    return frame != NULL;
}

static bool is_running(PyFrameObject *wanted)
{
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame != NULL && frame != wanted)
        frame = caller_of(frame);
    Py_XDECREF(frame);
    return frame != NULL;
}

/* Whether an except clause begins at this instruction; each has two bytes. */
static bool begins_except(const unsigned char *code, Py_ssize_t i, Py_ssize_t length)
{
#ifdef CHECK_EXC_MATCH
    return code[i] == CHECK_EXC_MATCH || (code[i] == PUSH_EXC_INFO && i + 2 < length && code[i + 2] == POP_TOP);
#else
    if (code[i] == JUMP_IF_NOT_EXC_MATCH)
        return true;
    bool drops = i + 4 < length && code[i] == POP_TOP && code[i + 2] == POP_TOP && code[i + 4] == POP_TOP;
    bool of_with = i >= 4 && code[i - 2] == RERAISE && code[i - 4] == POP_JUMP_IF_TRUE; /* __exit__ said so */
    return drops && !of_with;
#endif
}

static bool has_except(PyFrameObject *frame)
{
    PyObject *bytes = instructions_of(frame);
    Py_ssize_t length = bytes == NULL ? 0 : PyBytes_GET_SIZE(bytes);
    bool result = false;
    for (Py_ssize_t i = 0; i < length && !result; i += 2)
        result = begins_except((const unsigned char *)PyBytes_AS_STRING(bytes), i, length);
    Py_XDECREF(bytes);
    return result;
}

bool pye_place_unseen(PyObject *exception)
{
    PyTracebackObject *traceback = (PyTracebackObject *)PyException_GetTraceback(exception);
    if (traceback == NULL)
        return true;
    PyFrameObject *reached = traceback->tb_frame; /* the last that it came to */
    bool result = of_import_system(reached) || (!is_running(reached) && !has_except(reached));
    Py_DECREF(traceback);
    return result;
}
