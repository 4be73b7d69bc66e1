/* launcher/cgroup and launcher/limits: the texts of /proc/self/cgroup and /proc/self/mountinfo, or those of two files of a
 * group, with a NUL between them. */
#include "tests/fuzz/fuzz.h"

#include "launcher/cgroup.h"

static void check_groups(const char *groups, const char *mounts)
{
    static const char *const controllers[] = {"cpu", "memory"};
    static struct pye_cgroup group;
    for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++) {
        const char *left = mounts;
        while (pye_cgroup_next(groups, &left, controllers[i], &group)) {
            MUST(left > mounts && left <= mounts + strlen(mounts));
            MUST(memchr(group.directory, '\0', sizeof group.directory) != NULL);
            do {
                MUST(group.top <= strlen(group.directory));
                MUST(group.directory[group.top] == '\0' || group.directory[group.top] == '/');
            } while (pye_cgroup_up(&group));
            MUST(group.directory[group.top] == '\0');
        }
    }
}

static void check_values(const char *first, const char *second)
{
    static const char *const keys[] = {NULL, "oom_kill", ""};
    int64_t cpus;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        MUST(pye_parse_counter(first, keys[i]) >= -1);
    if (pye_parse_cpu_max(first, &cpus))
        MUST(cpus == PYE_NO_LIMIT || (cpus >= 1 && cpus <= INT_MAX));
    if (pye_parse_cfs_quota(first, second, &cpus))
        MUST(cpus == PYE_NO_LIMIT || (cpus >= 1 && cpus <= INT_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = expand(data, &size);
    char *first = strdup(text), *second = strdup(strlen(text) < size ? text + strlen(text) + 1 : "");
    MUST(first != NULL && second != NULL);
    check_groups(first, second);
    check_values(first, second);
    free(text);
    free(first);
    free(second);
    return 0;
}
