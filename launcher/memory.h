/* The memory group as an init watches it: whether the kernel's OOM killer was in it, and how far it got. */
#ifndef PYE_MEMORY_H
#define PYE_MEMORY_H

#include "launcher/cgroup.h"

/* What can be told of it; PYE_NO_LIMIT or -1 where it cannot. */
struct pye_memory_state {
    int64_t oom_kills, limit, peak;
};

/* The group that counts OOM kills. False where none is visible. */
bool pye_memory_group_find(struct pye_cgroup *group);

/* How many there were; -1 where it cannot be told. */
int64_t pye_memory_oom_kills(const struct pye_cgroup *group);

/* The limit is the least of the group and those above. */
void pye_memory_state_read(const struct pye_cgroup *group, struct pye_memory_state *state);

/* A pye_cgroup_reader: the limit that one group has of its own. */
bool pye_memory_read_limit(const char *root, const struct pye_cgroup *group, int64_t *bytes, const char **file);

#endif
