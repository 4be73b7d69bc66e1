/* The flags of the command line, as sys.flags has them. */
#ifndef PYE_FLAG_H
#define PYE_FLAG_H

#include <Python.h>

#include <stdbool.h>

/* Whether it is set. Leaves no exception. */
bool pye_flag(const char *name);

#endif
