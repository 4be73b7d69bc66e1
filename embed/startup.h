/* What pyentry changes in the interpreter, put in before any of the user's code runs. */
#ifndef PYE_STARTUP_H
#define PYE_STARTUP_H

#include <Python.h>

#include "embed/embed.h"

#include <stdbool.h>

/* Between the two phases of the initialisation: waits for the import of site, the first that may run foreign
 * code, and puts everything in just before it. 0, or -1 with an exception. */
int pye_startup_begin(const struct pye_settings *settings);

/* The find_spec of the module _pyentry, which stands on sys.meta_path until site is asked for. It finds nothing. */
PyObject *pye_startup_find_spec(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* After the initialisation: puts everything in where site was not imported (-S). */
int pye_startup_finish(void);

/* Whether that is done: what comes next is the program. */
bool pye_startup_is_over(void);

#endif
