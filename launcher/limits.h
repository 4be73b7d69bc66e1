/* How many CPUs and how much memory this process may use, and where that stands.
 *
 * Nothing is kept: each call looks anew, as os.cpu_count() does. */
#ifndef PYE_LIMITS_H
#define PYE_LIMITS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PYE_NO_LIMIT = -1, PYE_LIMIT_SOURCE_BYTES = PATH_MAX + NAME_MAX };

struct pye_limit {
    int64_t value;                       /* PYE_NO_LIMIT: none, and no source */
    char source[PYE_LIMIT_SOURCE_BYTES]; /* a file of the control groups, or one of the words below */
};

#define PYE_BY_HOST "host"
#define PYE_BY_AFFINITY "affinity"
#define PYE_BY_OPTION "--cpus"
#define PYE_BY_XOPTION "-X cpu_count"
#define PYE_BY_VARIABLE "PYTHON_CPU_COUNT"

/* Counts that were asked for, in the order in which they win. */
struct pye_cpus_asked {
    const char *xoption;  /* the text of -X cpu_count=N, "" where it has none; NULL: not given */
    int option;           /* --cpus; 0: auto */
    const char *variable; /* the text of PYTHON_CPU_COUNT; NULL: unset */
};

/* The count that was asked for, PYE_NO_LIMIT where nobody did. False where a text is not valid: source says which. */
bool pye_cpus_choose(const struct pye_cpus_asked *asked, struct pye_limit *chosen);

/* The CPUs that the affinity mask, and with it a cpuset, leaves to this process; at least 1. */
int pye_cpus_affinity(void);

/* The least CPU quota, in CPUs, rounded up. False, and untouched, where none of the files could be read. */
bool pye_cpus_quota(const char *root, struct pye_limit *quota);

/* What os.cpu_count() says where nobody asked for a count: the least of the host's, the affinity mask's and the quota.
 * The quota is read again where that can be; where it cannot (after chroot), what it holds counts. */
void pye_cpus_count(struct pye_limit *quota, struct pye_limit *count);

/* The memory limit in bytes. */
void pye_memory_limit(const char *root, struct pye_limit *limit);

/* The texts of the files that hold a quota, version 2's and version 1's: CPUs rounded up, or PYE_NO_LIMIT. False where
 * they make no sense. */
bool pye_parse_cpu_max(const char *text, int64_t *cpus);
bool pye_parse_cfs_quota(const char *quota, const char *period, int64_t *cpus);

#endif
