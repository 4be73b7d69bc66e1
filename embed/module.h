/* The modules that pyentry brings: _pyentry, in C, and the frozen package pyentry. */
#ifndef PYE_MODULE_H
#define PYE_MODULE_H

#include <Python.h>

/* A new module _pyentry. */
PyObject *pye_module_create(void);

/* Makes both importable. Before Py_Initialize. 0, or -1 when there is no memory. */
int pye_module_register(void);

#endif
