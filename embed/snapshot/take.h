/* Taking a snapshot: a fork, whose child writes itself down instead of going on. A process that starts from the file
 * is that child, as far as Python and every library can tell. */
#ifndef PYE_SNAPSHOT_TAKE_H
#define PYE_SNAPSHOT_TAKE_H

#include <Python.h>

/* _pyentry.take(words): does not return, but with an exception. words are bytes for the image: launcher/image.h. */
PyObject *pye_snapshot_take(PyObject *module, PyObject *words);

#endif
