/* What an init must not hold on to, once Python is started: its inheritance is Python's. */
#ifndef PYE_HYGIENE_H
#define PYE_HYGIENE_H

#include <sys/types.h>

/* In the child: socket activation names the process that the sockets are for; where that was us, it is Python. */
void pye_rewrite_listen_pid(pid_t ours);

/* In the parent: closes every descriptor but stderr and keep (-1: none), leaves the working directory, and gives
 * the memory of the shared libraries that only Python needs back. After that only _exit leaves the process. */
void pye_let_go(int keep);

#endif
