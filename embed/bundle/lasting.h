/* Objects that last as long as the process: the parts of the code of modules.
 *
 * They lie one behind the other, in memory that is not given back: without an allocation for each, out of the garbage
 * collector's sight, and nothing is to be taken down at the end. One reference to each is the memory's own. */
#ifndef PYE_LASTING_H
#define PYE_LASTING_H

#include <Python.h>

/* A new reference, or NULL with an exception. */
PyObject *pye_lasting_bytes(const char *bytes, size_t size);

/* Its items are NULL, and to be set by PyTuple_SET_ITEM. */
PyObject *pye_lasting_tuple(Py_ssize_t length);

/* One that the collector does not know: it begins as the sample does, and the rest follows. */
PyObject *pye_lasting_copy(PyObject *sample, size_t beginning, const void *rest, size_t size);

#endif
