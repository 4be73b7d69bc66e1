#include "embed/replace.h"

PyObject *pye_replace(const char *module_name, const char *name, PyMethodDef *definition)
{
    PyObject *ours = NULL, *module_attribute = NULL;
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL)
        return NULL;
    PyObject *theirs = PyObject_GetAttrString(module, name);
    if (theirs == NULL)
        goto done;
    definition->ml_name = name;
    if (PyCFunction_Check(theirs))
        definition->ml_doc = ((PyCFunctionObject *)theirs)->m_ml->ml_doc;
    module_attribute = PyObject_GetAttrString(theirs, "__module__");
    if (module_attribute != NULL)
        ours = PyCFunction_NewEx(definition, module, module_attribute);
    if (ours == NULL || PyObject_SetAttrString(module, name, ours) < 0)
        Py_CLEAR(theirs);
done:
    Py_XDECREF(module_attribute);
    Py_XDECREF(ours);
    Py_DECREF(module);
    return theirs;
}
