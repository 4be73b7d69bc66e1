/* This process's control groups, found through /proc/self/cgroup and /proc/self/mountinfo, never at a guessed path.
 *
 * Version 1, version 2 and both side by side are one walk: every mount that shows this process's group in a hierarchy
 * with the controller, and there from the group up to the top of what the mount shows. What is not there, denied or
 * nonsense is passed over. */
#ifndef PYE_CGROUP_H
#define PYE_CGROUP_H

#include "launcher/limits.h"

enum {
    PYE_CGROUP_LIST_BYTES = 64 * 1024, /* of the two files in /proc: lines behind that are not read */
    PYE_CGROUP_FILE_BYTES = 512        /* of a group's file */
};

/* The texts of the two files in /proc. */
struct pye_cgroup_lists {
    char *groups, *mounts;
};

/* False where they cannot be had. pye_cgroup_close in any case. Every path is looked up below root: "", but for
 * tests. */
bool pye_cgroup_open(struct pye_cgroup_lists *lists, const char *root);
void pye_cgroup_close(struct pye_cgroup_lists *lists);

/* A group's directory under one mount. */
struct pye_cgroup {
    char directory[PATH_MAX];
    size_t top;   /* the length of the mount point, which it begins with */
    bool unified; /* version 2 */
};

/* This process's group under the next mount of a hierarchy that has the controller (version 2 does not say which it
 * has). Where the group itself is outside of what the mount shows: the mount's top, if that is above the group.
 * Begin with *mounts at the text's beginning; false: no further one. */
bool pye_cgroup_next(const char *groups, const char **mounts, const char *controller, struct pye_cgroup *group);

/* Makes it the group above; false at the top. */
bool pye_cgroup_up(struct pye_cgroup *group);

/* The text of one of a group's files. False where it cannot be read. */
bool pye_cgroup_read(const char *root, const struct pye_cgroup *group, const char *file, char *text);

/* Reads a value from a group; false where it has none that makes sense. PYE_NO_LIMIT is a value, too. *file: where it
 * stands. */
typedef bool pye_cgroup_reader(const char *root, const struct pye_cgroup *group, int64_t *value, const char **file);

/* Lowers least to the least value of the group and of all that are visible above it, and leaves group at the topmost.
 * False where not one could be read. */
bool pye_cgroup_climb(const char *root, struct pye_cgroup *group, pye_cgroup_reader *read, struct pye_limit *least);

/* The least over every mount; else likewise. */
bool pye_cgroup_least(const char *root, const char *controller, pye_cgroup_reader *read, struct pye_limit *least);

/* The number behind a word at the beginning of a line, or alone when key is NULL; -1 where there is none. */
int64_t pye_parse_counter(const char *text, const char *key);

#endif
