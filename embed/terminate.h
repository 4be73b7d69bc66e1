/* SIGTERM in Python: pyentry.Terminated, raised once in the main thread. */
#ifndef PYE_TERMINATE_H
#define PYE_TERMINATE_H

#include <Python.h>

#include <stdbool.h>

/* The exception, a new reference; made at the first call. */
PyObject *pye_terminated_type(void);

/* Puts the handler and the ways out of the process in; with by_default SIGTERM keeps its default action. 0, or -1 with
 * an exception. */
int pye_terminate_install(bool by_default);

/* Whether the exception that is set, or this type, is Terminated. */
bool pye_terminated_is_set(void);
bool pye_terminated_is(PyObject *type);

/* An exception of this type could not be raised where it came up. Terminated is never lost: it comes again, or,
 * where no Python code is left to raise it in, the process ends by SIGTERM. Whether it was Terminated. */
bool pye_terminated_swallowed(PyObject *type);

#endif
