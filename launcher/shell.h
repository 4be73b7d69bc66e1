/* A shell as a container's process 1, with pyentry below it: it keeps SIGTERM to itself, and the container is killed
 * after ten seconds, with the work in it. Nobody sees why, so we say it. */
#ifndef PYE_SHELL_H
#define PYE_SHELL_H

#include <stdbool.h>

enum { PYE_COMM_BYTES = 17 }; /* TASK_COMM_LEN, the newline and the end included */

/* The name of process 1; empty where it is not told. */
void pye_first_process(char name[PYE_COMM_BYTES]);

bool pye_is_shell(const char *name);

/* A line, where our parent is such a shell and no terminal says that somebody is at work in it. */
void pye_warn_of_shell(void);

#endif
