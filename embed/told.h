/* Which children were told of a SIGTERM. */
#ifndef PYE_TOLD_H
#define PYE_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The children of now, who are to be told. The list stays ours. */
const pid_t *pye_told_children(size_t *count);

/* Everybody in the process group is. */
void pye_told_group(void);

/* Whether this child was told, and has not ended since. */
bool pye_told_lives(pid_t child);

#endif
