/* Where we run, as far as variables and files say it. docs/info.md tells how each is told. */
#ifndef PYE_PLATFORM_H
#define PYE_PLATFORM_H

/* What Cloud Run runs: the variable that names it, and the one that names its revision. */
struct pye_cloud_run {
    const char *name, *revision;
    const char *title; /* "Cloud Run service" */
};

/* NULL where this is not Cloud Run. */
const struct pye_cloud_run *pye_cloud_run_find(void);

/* A variable's value, NULL where it is unset or empty. */
const char *pye_platform_variable(const char *name);

#endif
