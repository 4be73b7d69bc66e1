/* The archive as a read-only directory at the bundle's own path: what a path names there.
 *
 * Only absolute paths that begin with the bundle's own are looked at; every other is the kernel's affair. */
#ifndef PYE_TREE_H
#define PYE_TREE_H

#include "embed/bundle/archive.h"

#include <limits.h>
#include <sys/stat.h>

enum pye_node_kind {
    PYE_OUTSIDE,  /* none of ours */
    PYE_BESIDE,   /* out of the bundle again through "..": name is the path that is meant */
    PYE_TOP,      /* the bundle's own path: the kernel's executable file, and our directory */
    PYE_FILE,
    PYE_DIRECTORY,
    PYE_MISSING,
};

struct pye_node {
    enum pye_node_kind kind;
    const struct pye_entry *entry; /* the file, or the first entry below the directory */
    size_t length;
    char name[PATH_MAX]; /* below the root, "" is the root itself; with PYE_BESIDE a whole path */
};

/* Sets all of node but where the path is outside, when it sets nothing. */
enum pye_node_kind pye_tree_find(const char *path, struct pye_node *node);

/* The same for those who open files: outside, too, is what lies in a directory. */
enum pye_node_kind pye_tree_serve(const char *path, struct pye_node *node);

/* What stat(2) says of a file or directory. */
void pye_tree_stat(const struct pye_node *node, struct stat *status);

/* The file's bytes; NULL, with the line that says so printed, where they are damaged. */
const void *pye_tree_read(const struct pye_entry *entry);

#endif
