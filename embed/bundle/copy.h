/* A file of the archive as a descriptor of its own. */
#ifndef PYE_COPY_H
#define PYE_COPY_H

#include "embed/bundle/archive.h"

#include <stdbool.h>

/* A copy in memory, or where the kernel refuses that, in a file of $TMPDIR that has no name. -1 with errno. */
int pye_copy_open(const struct pye_entry *entry, bool close_on_exec);

/* The copy in memory alone. */
int pye_copy_in_memory(const struct pye_entry *entry, bool close_on_exec);

/* Makes the directory $TMPDIR/pyentry-XXXXXX, private, or in /tmp; its path has PATH_MAX bytes. */
bool pye_copy_make_directory(char *path);

/* The file's bytes into an open file. */
bool pye_copy_write(const struct pye_entry *entry, int fd);

#endif
