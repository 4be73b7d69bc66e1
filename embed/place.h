/* Where a SIGTERM found the program: not everywhere does an exception reach it. */
#ifndef PYE_PLACE_H
#define PYE_PLACE_H

#include <Python.h>

#include <stdbool.h>
#include <sys/types.h>

enum pye_place {
    PYE_IN_PROGRAM,
    PYE_BEFORE_PROGRAM, /* the interpreter imports what it needs to run the program, and drops exceptions */
    PYE_AFTER_PROGRAM,  /* an atexit function, say: what cuts it off undoes what it cleans up */
    PYE_IN_EVENT_LOOP,  /* asyncio's own code: the task whose next step it has in hand would never run again */
    PYE_BELOW_LOOP,     /* what it calls: in a coroutine the exception would be that task's, which nobody may ask */
    PYE_IN_MACHINERY    /* the import system, or a class in the making: C code around it raises errors of its own */
};

enum pye_place pye_place_find(void);

/* The event loop of asyncio's that runs in this thread, a new reference; NULL and no exception where none does. */
PyObject *pye_place_event_loop(void);

/* Whether this is the server that multiprocessing's start method forkserver forks from, and none of its children. */
bool pye_place_is_fork_server(void);

/* The child for which subprocess.run() waits, or call(), and those that are made of these; 0 where none does. They kill
 * it when an exception passes through. */
pid_t pye_place_child(void);

/* Whether C code has dropped this exception, which is being freed: it has unwound no frame, or only the import system's,
 * or the last that it came to could not have handled it, and is gone. */
bool pye_place_unseen(PyObject *exception);

#endif
