#include "embed/bundle/parts.h"

#include "embed/bundle/lasting.h"

#include <opcode.h>
#include <stddef.h>
#include <stdlib.h>

static bool has_only_strings(PyObject *tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(tuple, i)))
            return false;
    }
    return true;
}

bool pye_parts_are_right(PyObject *object, size_t place)
{
    if (place < PYE_NAME)
        return PyBytes_CheckExact(object);
    if (place < PYE_CONSTANTS)
        return PyUnicode_CheckExact(object);
    return PyTuple_CheckExact(object) && (place == PYE_CONSTANTS || has_only_strings(object));
}

#ifdef PYE_LAYS_OUT_CODE

/* The kinds of a variable: one that is local may be a cell, too. */
enum { LOCAL = 0x20, CELL = 0x40, FREE = 0x80 };

/* Enough for the interpreter's arithmetic with sizes, and for a frame that has room for the arguments. */
static bool go_together(const struct pye_parts *parts)
{
    const int *numbers = parts->numbers;
    long variables = (long)PyTuple_GET_SIZE(parts->objects[PYE_VARIABLES]);
    long arguments = (long)numbers[PYE_ARGUMENTS] + numbers[PYE_KEYWORD_ONLY];
    arguments += !!(numbers[PYE_FLAGS] & CO_VARARGS) + !!(numbers[PYE_FLAGS] & CO_VARKEYWORDS);
    return parts->size > 0 && parts->size % sizeof(_Py_CODEUNIT) == 0
           && PyBytes_GET_SIZE(parts->objects[PYE_KINDS]) == variables && arguments <= numbers[PYE_LOCALS]
           && numbers[PYE_POSITIONAL_ONLY] <= numbers[PYE_ARGUMENTS]
           && numbers[PYE_STACK] < (INT_MAX - variables) / (long)sizeof(PyObject *);
}

static void count_variables(PyCodeObject *code, PyObject *kinds)
{
    code->co_nlocalsplus = (int)PyBytes_GET_SIZE(kinds);
    for (int i = 0; i < code->co_nlocalsplus; i++) {
        unsigned char kind = (unsigned char)PyBytes_AS_STRING(kinds)[i];
        code->co_nlocals += !!(kind & LOCAL);
        code->co_ncellvars += !!(kind & CELL);
        code->co_nplaincellvars += (kind & CELL) && !(kind & LOCAL);
        code->co_nfreevars += !!(kind & FREE);
    }
}

static int first_traceable(const PyCodeObject *code)
{
    int place = 0;
    while (place < Py_SIZE(code) && _Py_OPCODE(_PyCode_CODE(code)[place]) != RESUME)
        place++;
    return place;
}

/* As the interpreter's constructor does, in an eighth of the time: that looks through all names and constants for
 * strings to intern, too, which the reader has done. */
static PyObject *assemble(const struct pye_parts *parts)
{
    static PyCodeObject *sample;
    if (sample == NULL)
        sample = PyCode_NewEmpty("", "", 1);
    PyCodeObject *code = (PyCodeObject *)pye_lasting_copy((PyObject *)sample, offsetof(PyCodeObject, co_code_adaptive),
                                                          parts->instructions, parts->size);
    if (code == NULL)
        return NULL;
    Py_SET_SIZE(code, (Py_ssize_t)(parts->size / sizeof(_Py_CODEUNIT)));
    code->co_argcount = parts->numbers[PYE_ARGUMENTS];
    code->co_posonlyargcount = parts->numbers[PYE_POSITIONAL_ONLY];
    code->co_kwonlyargcount = parts->numbers[PYE_KEYWORD_ONLY];
    code->co_stacksize = parts->numbers[PYE_STACK];
    code->co_flags = parts->numbers[PYE_FLAGS];
    code->co_firstlineno = parts->numbers[PYE_FIRST_LINE];
    code->co_linetable = Py_NewRef(parts->objects[PYE_LINES]);
    code->co_exceptiontable = Py_NewRef(parts->objects[PYE_EXCEPTIONS]);
    code->co_localspluskinds = Py_NewRef(parts->objects[PYE_KINDS]);
    code->co_name = Py_NewRef(parts->objects[PYE_NAME]);
    code->co_qualname = Py_NewRef(parts->objects[PYE_QUALIFIED_NAME]);
    code->co_consts = Py_NewRef(parts->objects[PYE_CONSTANTS]);
    code->co_names = Py_NewRef(parts->objects[PYE_NAMES]);
    code->co_localsplusnames = Py_NewRef(parts->objects[PYE_VARIABLES]);
    code->co_filename = Py_NewRef(parts->filename);
    count_variables(code, code->co_localspluskinds);
    code->_co_firsttraceable = first_traceable(code);
    return (PyObject *)code;
}

/* Whether this process wants no columns in its code: the interpreter keeps that to itself. */
static bool drops_columns(void)
{
    static int drops = -1;
    if (drops < 0) {
        const char *variable = Py_IgnoreEnvironmentFlag ? NULL : getenv("PYTHONNODEBUGRANGES");
        PyObject *options = PySys_GetXOptions(); /* borrowed */
        bool option = options != NULL && PyDict_GetItemString(options, "no_debug_ranges") != NULL;
        drops = option || (variable != NULL && *variable != '\0');
    }
    return drops;
}

PyObject *pye_parts_assemble(const struct pye_parts *parts)
{
    if (!go_together(parts)) {
        PyErr_SetString(PyExc_ValueError, "the parts of this code do not go together");
        return NULL;
    }
    PyObject *code = assemble(parts);
    if (code != NULL && drops_columns())
        Py_SETREF(code, PyObject_CallMethod(code, "replace", NULL)); /* made by the constructor, which drops them */
    return code;
}

#else

#if PY_VERSION_HEX >= 0x030C0000
#define NEW_CODE PyUnstable_Code_NewWithPosOnlyArgs
#else
#define NEW_CODE PyCode_NewWithPosOnlyArgs
#endif

PyObject *pye_parts_assemble(const struct pye_parts *parts)
{
    const int *n = parts->numbers;
    PyObject *const *o = parts->objects;
    PyObject *instructions = PyBytes_FromStringAndSize(parts->instructions, (Py_ssize_t)parts->size);
    if (instructions == NULL)
        return NULL;
    PyCodeObject *code = NEW_CODE(n[PYE_ARGUMENTS], n[PYE_POSITIONAL_ONLY], n[PYE_KEYWORD_ONLY], n[PYE_LOCALS],
                                  n[PYE_STACK], n[PYE_FLAGS], instructions, o[PYE_CONSTANTS], o[PYE_NAMES],
                                  o[PYE_VARIABLES], o[PYE_FREE], o[PYE_CELLS], parts->filename, o[PYE_NAME],
#if PY_VERSION_HEX >= 0x030B0000
                                  o[PYE_QUALIFIED_NAME], n[PYE_FIRST_LINE], o[PYE_LINES], o[PYE_EXCEPTIONS]);
#else
                                  n[PYE_FIRST_LINE], o[PYE_LINES]);
#endif
    Py_DECREF(instructions);
    return (PyObject *)code;
}

#endif
