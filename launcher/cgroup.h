/* This process's control group, found through /proc/self/cgroup and /proc/self/mountinfo, never at a guessed path. */
#ifndef PYE_CGROUP_H
#define PYE_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PYE_CGROUP_FILE_BYTES = 64 * 1024 }; /* of the files in /proc: what is behind that is not read */

/* The memory group: its directory, and which of the two kinds it is. */
struct pye_memory_group {
    char directory[PATH_MAX];
    bool unified; /* version 2 */
};

/* How far the group got, -1 where it cannot be told. */
struct pye_memory_state {
    int64_t oom_kills, limit, peak;
};

/* False where there is none, or it cannot be seen. */
bool pye_memory_group_find(struct pye_memory_group *group);

void pye_memory_state_read(const struct pye_memory_group *group, struct pye_memory_state *state);

/* The same from the text of the two files; neither need be well-formed. */
bool pye_memory_group_parse(const char *cgroup, const char *mountinfo, struct pye_memory_group *group);

/* The number behind a word at the beginning of a line, or alone when key is NULL; -1 where there is none. */
int64_t pye_parse_counter(const char *text, const char *key);

#endif
