#include "launcher/platform.h"

#include <stddef.h>
#include <stdlib.h>

static const struct pye_cloud_run cloud_run[] = {
    {"K_SERVICE", "K_REVISION", "Cloud Run service"},
    {"CLOUD_RUN_JOB", "CLOUD_RUN_EXECUTION", "Cloud Run job"},
    {"CLOUD_RUN_WORKER_POOL", "CLOUD_RUN_WORKER_POOL_REVISION", "Cloud Run worker pool"},
};

const char *pye_platform_variable(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}

const struct pye_cloud_run *pye_cloud_run_find(void)
{
    for (size_t i = 0; i < sizeof cloud_run / sizeof *cloud_run; i++) {
        if (pye_platform_variable(cloud_run[i].name) != NULL)
            return &cloud_run[i];
    }
    return NULL;
}
