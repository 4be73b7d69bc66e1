/* The bundle that this process runs from: its path, its archive, what its builder wrote down.
 *
 * The archive is mapped for the life of the process. It appears as a read-only directory at the executable's own path
 * (tree.h), or, with --dir, has the code of the files that are in a directory beside it (files.h). Everything here is plain
 * C without Python, and unchanged once pye_bundle_begin has returned but for the index, which a snapshot makes
 * independent. */
#ifndef PYE_BUNDLE_H
#define PYE_BUNDLE_H

#include "embed/bundle/archive.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* The bundle's own entries are below this directory. */
#define PYE_BUNDLE_MANIFEST ".pyentry/manifest"
#define PYE_BUNDLE_LIBRARIES ".pyentry/libraries"
#define PYE_BUNDLE_SNAPSHOT ".pyentry/snapshot"

/* Where a bundle with --stdlib has its lib/pythonX.Y. */
#define PYE_BUNDLE_HOME ".python"

enum { PYE_MANIFEST_BYTES = 65536 };

struct pye_bundle {
    char executable[PATH_MAX]; /* by its real path */
    char root[PATH_MAX];       /* below which its files are: the executable itself, or a directory beside it */
    size_t root_length;
    bool has_files; /* in a directory: they are the kernel's affair */
    struct pye_archive archive;
    const char *manifest; /* lines "KEY VALUE" */
    size_t manifest_size;
    int64_t time;    /* what every file's times are, in seconds */
    bool has_stdlib; /* the standard library is in it */
    bool runs_app;   /* the command line is the app's, not python's */
    bool is_pyentry; /* the command line begins with pyentry's own options */
    int optimize;
};

/* NULL where this is a plain pyentry. */
const struct pye_bundle *pye_bundle(void);

/* For a process that is to be written down: pye_archive_settle. *start and *end are the pages of the mapped archive,
 * *offset is where they lie in the executable. False, with errno set, where there is no memory. */
bool pye_bundle_settle(uint64_t *start, uint64_t *end, uint64_t *offset);

/* Reads an archive's manifest. NULL, or what is wrong with it. */
const char *pye_bundle_read_manifest(struct pye_bundle *bundle);

/* The next line of the manifest with this key: its value, not terminated, and where to go on; NULL behind the last. */
const char *pye_bundle_line(const struct pye_bundle *bundle, const char *key, size_t *at, size_t *length);

/* Text with ${NAME} and ${NAME:-otherwise} replaced from the environment, and $$ by a dollar; to be freed. NULL, and
 * the name of the variable in missing, where that is not set. */
char *pye_bundle_expand(const char *text, size_t length, char *missing, size_t missing_bytes);

#endif
