/* A shell as a container's process 1, with pyentry below it: it keeps SIGTERM to itself, and the container is killed
 * after ten seconds, with the work in it. Nobody sees why, so we say it. */
#ifndef PYE_SHELL_H
#define PYE_SHELL_H

/* A line, where our parent is such a shell and no terminal says that somebody is at work in it. */
void pye_warn_of_shell(void);

#endif
