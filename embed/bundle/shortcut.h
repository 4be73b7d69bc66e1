/* The way that importlib takes to a module in the bundle, without Python code: two of its functions, _find_spec and
 * module_from_spec, are replaced by ones that do the same for such a module, and leave everything else to the replaced
 * ones. */
#ifndef PYE_SHORTCUT_H
#define PYE_SHORTCUT_H

#include <Python.h>

/* For the object that stands for the bundle on sys.meta_path, and importlib's ModuleSpec. 0, or -1 with an exception. */
int pye_shortcut_install(PyObject *importer, PyObject *module_spec);

#endif
