/* Reports of uncaught exceptions in one piece: sys.excepthook, sys.unraisablehook, threading.excepthook. */
#ifndef PYE_TRACEBACK_H
#define PYE_TRACEBACK_H

/* Puts the hooks in. 0, or -1 with an exception. */
int pye_traceback_install(void);

#endif
