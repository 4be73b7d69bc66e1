/* The variables of the environment that python reads. */
#ifndef PYE_VARIABLES_H
#define PYE_VARIABLES_H

#include <stdbool.h>

/* Whether an entry of environ is one of them. Others that begin with PYTHON are somebody else's, and may be secrets. */
bool pye_is_pythons(const char *entry);

#endif
