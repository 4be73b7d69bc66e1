/* A module that is imported when somebody first looks into it.
 *
 * Without the module warnings the interpreter writes a warning of its own in half a dozen pieces, and its import is a
 * fiftieth of what `-c pass` costs: most programs never look. */
#ifndef PYE_LAZY_H
#define PYE_LAZY_H

#include <Python.h>

/* Puts it into sys.modules, where it is not there yet. 0, or -1 with an exception. */
int pye_lazy_import(const char *name);

#endif
