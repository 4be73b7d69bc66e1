/* Runs a bundle's main module, in the place of runpy: as `python -m` runs it, without importing what runpy is made of,
 * which takes as long as all the rest of a start, and without its frames in every traceback. */
#ifndef PYE_RUNNER_H
#define PYE_RUNNER_H

#include <Python.h>

/* Puts a stand-in for runpy into sys.modules, which is gone when Py_RunMain has called it. 0, or -1 with an exception. */
int pye_runner_install(void);

#endif
