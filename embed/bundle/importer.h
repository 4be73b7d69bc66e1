/* Imports from the bundle's archive.
 *
 * On sys.meta_path stands an object that answers for what sys.path (or a package's __path__) has inside the bundle,
 * as long as no other entry comes before: a hash look-up, no system call. On sys.path_hooks stands a finder for those
 * paths, so that everything else finds its way, too. Finders and loaders are subclasses of importlib's own for files,
 * which see the archive as the directory that it appears as: what is not overridden here works by that. */
#ifndef PYE_IMPORTER_H
#define PYE_IMPORTER_H

#include <Python.h>

#include <stdbool.h>

/* Puts the importer behind those for built-in and frozen modules. 0, or -1 with an exception. */
int pye_importer_install(void);

/* When the interpreter is ready: what a bundle has instead of site. */
int pye_importer_finish(void);

/* The spec of a module that path (None: sys.path) has in the bundle before anything else, or None. */
PyObject *pye_importer_find(PyObject *fullname, PyObject *path);

/* Whether a loader is one for plain modules in the bundle, and no subclass. */
bool pye_importer_has_made(PyObject *loader);

/* After the line that says so: raises SystemExit(1), and returns NULL. No ImportError: a program that tries imports would
 * go on without its module. */
PyObject *pye_importer_damaged(void);

#endif
