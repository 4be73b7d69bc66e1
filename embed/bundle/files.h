/* The files of a bundle that is a directory: all but code is there, as it was built.
 *
 * The archive has an entry for each of them, which holds not the file but a line, "SIZE CHECKSUM": so the archive knows
 * every name, and what was loaded is what was built. */
#ifndef PYE_FILES_H
#define PYE_FILES_H

#include "embed/bundle/bundle.h"

/* Sets the bundle's root, which its manifest names. NULL, or what is wrong. */
const char *pye_files_find(struct pye_bundle *bundle);

/* The path of an entry's file, in PATH_MAX bytes. False, with the line that says so printed, where it is not what the
 * entry says. */
bool pye_files_check(const struct pye_entry *entry, char *path);

#endif
