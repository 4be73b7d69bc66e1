/* Taking a snapshot: a fork, whose child writes itself down instead of going on. A process that starts from the file
 * is that child, as far as Python and every library can tell. */
#ifndef PYE_SNAPSHOT_TAKE_H
#define PYE_SNAPSHOT_TAKE_H

#include <Python.h>

#include <stdbool.h>

/* _pyentry.take(words, keeps_frames): does not return, but with an exception. words are bytes for the image:
 * launcher/image.h. keeps_frames: a start may go back to C frames, as greenlets do, so that they keep their canary. */
PyObject *pye_snapshot_take(PyObject *module, PyObject *args);

/* What take() was told last, for those who start. */
extern bool pye_resume_keeps_canary;

#endif
