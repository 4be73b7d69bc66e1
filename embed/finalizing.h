/* Whether the interpreter is being taken down: threads stand still, and nothing can be imported. */
#ifndef PYE_FINALIZING_H
#define PYE_FINALIZING_H

#include <Python.h>

#include <stdbool.h>

static inline bool pye_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

#endif
