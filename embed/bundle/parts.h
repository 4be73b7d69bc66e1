/* What a code object is made of, in the builder's order: NUMBERS and OBJECTS in pyentry/bundler/codes.py. */
#ifndef PYE_PARTS_H
#define PYE_PARTS_H

#include <Python.h>

#include <stdbool.h>

/* Python 3.11's code objects are laid out here; those of others are made by the interpreter's constructor. */
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#define PYE_LAYS_OUT_CODE
#endif

enum {
    PYE_ARGUMENTS,
    PYE_POSITIONAL_ONLY,
    PYE_KEYWORD_ONLY,
    PYE_LOCALS,
    PYE_STACK,
    PYE_FLAGS,
    PYE_FIRST_LINE,
    PYE_NUMBERS
};

enum {
    PYE_LINES, /* bytes, up to the name */
#if PY_VERSION_HEX >= 0x030B0000
    PYE_EXCEPTIONS,
#endif
#ifdef PYE_LAYS_OUT_CODE
    PYE_KINDS, /* of the variables: a byte for each */
#endif
    PYE_NAME, /* strings, up to the constants */
#if PY_VERSION_HEX >= 0x030B0000
    PYE_QUALIFIED_NAME,
#endif
    PYE_CONSTANTS, /* tuples */
    PYE_NAMES,
    PYE_VARIABLES,
#ifndef PYE_LAYS_OUT_CODE
    PYE_FREE,
    PYE_CELLS,
#endif
    PYE_OBJECTS
};

struct pye_parts {
    const char *instructions;
    size_t size;
    int numbers[PYE_NUMBERS];
    PyObject *objects[PYE_OBJECTS], *filename;
};

/* Whether an object is of the type that this place wants. */
bool pye_parts_are_right(PyObject *object, size_t place);

/* A new reference; NULL with an exception, a ValueError where the parts do not
 * go together. */
PyObject *pye_parts_assemble(const struct pye_parts *parts);

#endif
