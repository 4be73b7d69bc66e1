/* Who is below this process, read from /proc.
 *
 * /proc/PID/task/TID/children is not on every kernel, so the ppid fields of all processes are read. */
#ifndef PYE_DESCENDANTS_H
#define PYE_DESCENDANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Notes the children that this process has already, from the program that it was before an exec: the other end of a
 * shell's `exec > >(tee log)`, or a helper. They are not Python's, and neither list below has them, or who is below
 * them. One system call where there are none. */
void pye_children_note(void);

/* How many were noted. */
size_t pye_children_noted(void);

/* The direct children; the caller frees the list. *count is 0 where /proc cannot be read.
 * Zombies are left out: nobody is at home. */
pid_t *pye_children(size_t *count);

/* Whether this is a direct child, and no zombie. */
bool pye_is_child(pid_t pid);

/* Whether there is a /proc, and of our PID namespace: another's numbers strangers. */
bool pye_proc_is_ours(void);

/* Likewise everybody below this process, at any depth. */
pid_t *pye_descendants(size_t *count);

/* Whether the process has a handler for the signal, and its main thread does not block it; false where that cannot be
 * seen. */
bool pye_catches(pid_t pid, int number);

/* The parent and the state in the text of a /proc/PID/stat file; -1 when it is not one. */
pid_t pye_parse_stat(const char *text, char *state);

#endif
