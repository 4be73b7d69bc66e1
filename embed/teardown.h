/* --fast-exit: what a process has in memory is the kernel's to take back, all at once.
 *
 * Python's end has two parts. In the first, threads are waited for, atexit functions run, and the standard streams are
 * flushed; in the second every module is taken apart, object by object. This leaves out the second: the interpreter finds
 * no modules, and nothing to collect. Everything around it stays Python's own, the exit status above all. */
#ifndef PYE_TEARDOWN_H
#define PYE_TEARDOWN_H

#include <stdbool.h>

/* fast: --fast-exit. frozen: all that is from a snapshot is kept from the collector. */
void pye_teardown_configure(bool fast, bool frozen);

/* When the last atexit function has run. */
void pye_teardown_begin(void);

#endif
