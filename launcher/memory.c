#include "launcher/memory.h"

#include <string.h>

static const int64_t NO_MEMORY_LIMIT = INT64_C(1) << 60; /* from here on it is version 1's way to say none */

static int64_t counter(const struct pye_cgroup *group, const char *file, const char *key)
{
    char text[PYE_CGROUP_FILE_BYTES];
    return pye_cgroup_read("", group, file, text) ? pye_parse_counter(text, key) : -1;
}

int64_t pye_memory_oom_kills(const struct pye_cgroup *group)
{
    return counter(group, group->unified ? "memory.events" : "memory.oom_control", "oom_kill");
}

bool pye_memory_group_find(struct pye_cgroup *group)
{
    struct pye_cgroup_lists lists;
    bool found = false;
    if (pye_cgroup_open(&lists, "")) {
        const char *mounts = lists.mounts;
        while (!found && pye_cgroup_next(lists.groups, &mounts, "memory", group))
            found = pye_memory_oom_kills(group) >= 0;
    }
    pye_cgroup_close(&lists);
    return found;
}

void pye_memory_state_read(const struct pye_cgroup *group, struct pye_memory_state *state)
{
    struct pye_limit limit = {.value = PYE_NO_LIMIT};
    struct pye_cgroup above = *group;
    pye_cgroup_climb("", &above, pye_memory_read_limit, &limit);
    state->oom_kills = pye_memory_oom_kills(group);
    state->limit = limit.value;
    state->peak = counter(group, group->unified ? "memory.peak" : "memory.max_usage_in_bytes", NULL);
}

bool pye_memory_read_limit(const char *root, const struct pye_cgroup *group, int64_t *bytes, const char **file)
{
    char text[PYE_CGROUP_FILE_BYTES];
    *file = group->unified ? "memory.max" : "memory.limit_in_bytes";
    if (!pye_cgroup_read(root, group, *file, text))
        return false;
    *bytes = pye_parse_counter(text, NULL);
    if (*bytes < 0 && strcmp(text, "max\n") != 0)
        return false;
    if (*bytes < 0 || *bytes >= NO_MEMORY_LIMIT)
        *bytes = PYE_NO_LIMIT;
    return true;
}
