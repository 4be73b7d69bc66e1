/* os.cpu_count() and os.process_cpu_count() say what the container leaves, and the libraries that count CPUs
 * themselves are told. */
#ifndef PYE_CPUS_H
#define PYE_CPUS_H

#include <Python.h>

/* Puts our functions in, for the count that --cpus gave, or 0. Where fewer CPUs may be used than are there, sets the
 * variables that BLAS and OpenMP read, and the limit of the C library's arenas. Before os is imported. 0, or -1 with an
 * exception; where a count that was asked for is not valid, leaves through exit(3), as python does. */
int pye_cpus_install(int option);

/* In a process that starts from a snapshot: the same for the new process. Before os.environ is filled again. */
int pye_cpus_resume(int option);

/* pyentry.limits: looks anew each time. */
PyObject *pye_cpus_limits(PyObject *module, PyObject *unused);

#endif
