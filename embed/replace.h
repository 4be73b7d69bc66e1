/* Putting our own function in the place of one of the interpreter's. */
#ifndef PYE_REPLACE_H
#define PYE_REPLACE_H

#include <Python.h>

/* Replaces module.name by a function made of definition, which takes the docstring (and with it the signature
 * text) and the __module__ of the one it replaces. Returns a new reference to the replaced one. */
PyObject *pye_replace(const char *module, const char *name, PyMethodDef *definition);

#endif
