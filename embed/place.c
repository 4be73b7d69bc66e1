#include "embed/place.h"

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

static enum pye_place place_by_bottom(void)
{
    enum pye_place place = PYE_IN_PROGRAM;
    PyFrameObject *bottom = bottom_frame();
    if (bottom == NULL)
        return place;
    if (of_import_system(bottom))
        place = pye_startup_is_over() ? PYE_BEFORE_PROGRAM : PYE_IN_PROGRAM;
#if PY_VERSION_HEX < 0x030A0000
    else if (!is_named(bottom, "<module>") && !is_named(bottom, "_run_module_as_main"))
        place = PYE_AFTER_PROGRAM;
#endif
    Py_DECREF(bottom);
    return place;
}

static bool of_asyncio(PyFrameObject *frame)
{
    PyObject *globals = PyObject_GetAttrString((PyObject *)frame, "f_globals");
    PyObject *name = globals == NULL ? NULL : PyDict_GetItemString(globals, "__name__"); /* borrowed */
    const char *text = name == NULL || !PyUnicode_Check(name) ? NULL : PyUnicode_AsUTF8(name);
    bool result = text != NULL && (begins_with(text, "asyncio.") || strcmp(text, "selectors") == 0);
    Py_XDECREF(globals);
    return result;
}

static bool executes_import_from(PyFrameObject *frame)
{
    bool result = false;
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *bytes = PyObject_GetAttrString((PyObject *)code, "co_code");
    PyObject *last = PyObject_GetAttrString((PyObject *)frame, "f_lasti");
    if (bytes != NULL && last != NULL) {
        Py_ssize_t offset = PyLong_AsSsize_t(last);
        if (offset >= 0 && offset < PyBytes_GET_SIZE(bytes))
            result = (unsigned char)PyBytes_AS_STRING(bytes)[offset] == IMPORT_FROM;
    }
    Py_XDECREF(last);
    Py_XDECREF(bytes);
    Py_DECREF(code);
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
    PyErr_Clear(); /* what cannot be found out is no reason to lose a SIGTERM */
    Py_DECREF(frame);
    return place;
}

bool pye_place_unseen(PyObject *exception)
{
    PyTracebackObject *traceback = (PyTracebackObject *)PyException_GetTraceback(exception);
    bool result = traceback == NULL || of_import_system(traceback->tb_frame);
    Py_XDECREF(traceback);
    return result;
}
