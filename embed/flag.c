#include "embed/flag.h"

bool pye_flag(const char *name)
{
    PyObject *flags = PySys_GetObject("flags");
    PyObject *flag = flags == NULL ? NULL : PyObject_GetAttrString(flags, name);
    bool result = flag != NULL && PyObject_IsTrue(flag) == 1;
    PyErr_Clear();
    Py_XDECREF(flag);
    return result;
}
