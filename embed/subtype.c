#include "embed/subtype.h"

PyObject *pye_subtype(PyObject *base, PyType_Spec *spec)
{
    PyObject *bases = PyTuple_Pack(1, base); /* Python 3.9 takes nothing else */
    PyObject *type = bases == NULL ? NULL : PyType_FromSpecWithBases(spec, bases);
    Py_XDECREF(bases);
    return type;
}
