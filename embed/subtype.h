#ifndef PYE_SUBTYPE_H
#define PYE_SUBTYPE_H

#include <Python.h>

/* A new type with one base, from its specification; NULL with an exception. */
PyObject *pye_subtype(PyObject *base, PyType_Spec *spec);

#endif
