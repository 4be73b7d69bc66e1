#include "launcher/limits.h"

#include "launcher/memory.h"
#include "launcher/values.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CPUS = 8192, MASK_BITS = 8 * sizeof(unsigned long), DIGITS = 24 }; /* Linux cannot be built for more */

static void set(struct pye_limit *limit, int64_t value, const char *source)
{
    limit->value = value;
    snprintf(limit->source, sizeof limit->source, "%s", source);
}

/* --- what was asked for --- */

static bool take(struct pye_limit *chosen, const char *text, const char *source)
{
    int count;
    bool valid = pye_parse_cpu_count(text, &count);
    set(chosen, valid && count > 0 ? count : PYE_NO_LIMIT, source);
    return valid;
}

bool pye_cpus_choose(const struct pye_cpus_asked *asked, struct pye_limit *chosen)
{
    set(chosen, PYE_NO_LIMIT, "");
    /* Each one is looked at: python refuses a bad one also where another wins. */
    if (asked->variable != NULL && *asked->variable != '\0' && !take(chosen, asked->variable, PYE_BY_VARIABLE))
        return false;
    if (asked->option > 0)
        set(chosen, asked->option, PYE_BY_OPTION);
    return asked->xoption == NULL || take(chosen, asked->xoption, PYE_BY_XOPTION);
}

/* --- CPUs --- */

int pye_cpus_affinity(void)
{
    unsigned long mask[MOST_CPUS / MASK_BITS];
    if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)mask) == 0) {
        int count = CPU_COUNT_S(sizeof mask, (cpu_set_t *)mask);
        if (count > 0)
            return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (int)online;
}

/* A quota of half a CPU still takes one. */
static bool in_cpus(const char *quota, const char *period, int64_t *cpus)
{
    int64_t time = pye_parse_counter(quota, NULL), of = pye_parse_counter(period, NULL);
    if (time <= 0 || of <= 0)
        return false;
    int64_t count = time / of + (time % of != 0);
    *cpus = count > INT_MAX ? INT_MAX : count;
    return true;
}

bool pye_parse_cpu_max(const char *text, int64_t *cpus)
{
    char quota[DIGITS];
    size_t length = strcspn(text, " ");
    if (text[length] == '\0' || length >= sizeof quota)
        return false;
    memcpy(quota, text, length);
    quota[length] = '\0';
    *cpus = PYE_NO_LIMIT;
    return strcmp(quota, "max") == 0 || in_cpus(quota, text + length + 1, cpus);
}

bool pye_parse_cfs_quota(const char *quota, const char *period, int64_t *cpus)
{
    *cpus = PYE_NO_LIMIT;
    return quota[0] == '-' || in_cpus(quota, period, cpus);
}

static bool read_quota(const char *root, const struct pye_cgroup *group, int64_t *cpus, const char **file)
{
    char quota[PYE_CGROUP_FILE_BYTES], period[PYE_CGROUP_FILE_BYTES] = "";
    *file = group->unified ? "cpu.max" : "cpu.cfs_quota_us";
    if (!pye_cgroup_read(root, group, *file, quota))
        return false;
    if (group->unified)
        return pye_parse_cpu_max(quota, cpus);
    if (quota[0] != '-')
        pye_cgroup_read(root, group, "cpu.cfs_period_us", period);
    return pye_parse_cfs_quota(quota, period, cpus);
}

bool pye_cpus_quota(const char *root, struct pye_limit *quota)
{
    struct pye_limit found;
    if (!pye_cgroup_least(root, "cpu", read_quota, &found))
        return false;
    *quota = found;
    return true;
}

void pye_cpus_count(struct pye_limit *quota, struct pye_limit *count)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int affinity = pye_cpus_affinity();
    set(count, affinity, PYE_BY_AFFINITY);
    if (online > 0 && online <= affinity)
        set(count, online, PYE_BY_HOST);
    if (count->value > 1) /* else no quota can be less */
        pye_cpus_quota("", quota);
    if (quota->value != PYE_NO_LIMIT && quota->value < count->value)
        *count = *quota;
}

/* --- memory --- */

void pye_memory_limit(const char *root, struct pye_limit *limit)
{
    pye_cgroup_least(root, "memory", pye_memory_read_limit, limit);
}
