/* Randomness that C libraries keep, and Python cannot reach. */
#ifndef PYE_SNAPSHOT_LIBRARIES_H
#define PYE_SNAPSHOT_LIBRARIES_H

#include <Python.h>

/* _pyentry.find_libraries(), in the process that is written down: which are loaded. */
PyObject *pye_snapshot_find_libraries(PyObject *module, PyObject *unused);

/* _pyentry.renew_libraries(contexts): seeds anew what was loaded. contexts are the _ssl._SSLContext objects, whose
 * keys for session tickets are made new. */
PyObject *pye_snapshot_renew_libraries(PyObject *module, PyObject *contexts);

/* _pyentry.note_twister(capsule, key, position): whether renew_libraries will fill this Mersenne twister of numpy's, too,
 * from now on. Whoever holds it keeps it alive. */
PyObject *pye_snapshot_note_twister(PyObject *module, PyObject *args);

#endif
