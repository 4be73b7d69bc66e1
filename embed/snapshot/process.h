/* What a start needs of its process, and Python has no function for. */
#ifndef PYE_SNAPSHOT_PROCESS_H
#define PYE_SNAPSHOT_PROCESS_H

#include <Python.h>

/* _pyentry.environment(): as it is now; {bytes: bytes}. */
PyObject *pye_process_environment(PyObject *module, PyObject *unused);

/* _pyentry.watch(epoll, descriptor, events, data): epoll_ctl(2). */
PyObject *pye_process_watch(PyObject *module, PyObject *args);

#endif
