/* Where we run, as far as variables and files say it. docs/info.md tells how each is told. */
#ifndef PYE_PLATFORM_H
#define PYE_PLATFORM_H

/* What Cloud Run runs: the variable that names it, and the one that names its revision. */
struct pye_cloud_run {
    const char *name, *revision;
    const char *id, *title; /* "cloud-run-service", "Cloud Run service" */
};

struct pye_platform {
    const char *id, *title;
    const char *name, *revision; /* what runs there; NULL where it is not told */
    int generation;              /* of Cloud Run's execution environment; 0: not there */
    const char *told_by;         /* a variable or a file; NULL: there was no sign */
};

void pye_platform_find(struct pye_platform *platform);

/* NULL where this is not Cloud Run. */
const struct pye_cloud_run *pye_cloud_run_find(void);

/* A variable's value, NULL where it is unset or empty. */
const char *pye_platform_variable(const char *name);

#endif
