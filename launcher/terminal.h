/* The terminal, and job control between a shell above and Python below.
 *
 * Python gets a process group of its own, in the foreground where the init was: Ctrl-C then reaches it once, and the
 * init not at all. In a pipeline of an interactive shell it stays in the shell's group, since a group of its own would
 * put the other members into the background; what the terminal sends reaches everybody then, and the init does not
 * pass it on. */
#ifndef PYE_TERMINAL_H
#define PYE_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>

struct pye_terminal {
    int fd;          /* the controlling terminal, or -1 */
    bool first;      /* PID 1: there is no shell above */
    bool own_group;  /* Python has a process group of its own */
    bool foreground; /* the init's group had the terminal at the start */
};

/* Before the fork. */
void pye_terminal_prepare(struct pye_terminal *terminal, bool first);

/* After the fork, on both sides, whoever comes first: puts child where it belongs. */
void pye_terminal_enter(const struct pye_terminal *terminal, pid_t child);

/* Python was stopped: stops with it, for a shell above to see, until a SIGCONT, which is pending then. False where there is
 * no shell. */
bool pye_terminal_suspend(const struct pye_terminal *terminal, pid_t child);

/* A SIGCONT came: where the shell gave the terminal to us, it is Python's. */
bool pye_terminal_resume(const struct pye_terminal *terminal, pid_t child);

/* Python has ended or stopped: the terminal goes back to our group, where Python had it. */
void pye_terminal_leave(const struct pye_terminal *terminal, pid_t child);

/* In Python: the descriptor is the init's. */
void pye_terminal_forget(const struct pye_terminal *terminal);

#endif
