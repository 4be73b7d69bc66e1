#include "launcher/platform.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* A service is in one of the two generations, the others are in the second. */
static const struct pye_cloud_run cloud_run[] = {
    {"K_SERVICE", "K_REVISION", "cloud-run-service", "Cloud Run service"},
    {"CLOUD_RUN_JOB", "CLOUD_RUN_EXECUTION", "cloud-run-job", "Cloud Run job"},
    {"CLOUD_RUN_WORKER_POOL", "CLOUD_RUN_WORKER_POOL_REVISION", "cloud-run-worker-pool", "Cloud Run worker pool"},
};

/* In this order: a pod's container may show Docker's file, too. */
static const struct {
    const char *id, *title, *variable, *file;
} others[] = {
    {"kubernetes", "Kubernetes pod", "KUBERNETES_SERVICE_HOST", "/var/run/secrets/kubernetes.io/serviceaccount"},
    {"podman", "Podman container", NULL, "/run/.containerenv"},
    {"docker", "Docker container", NULL, "/.dockerenv"},
    {"container", "container", "container", NULL}, /* systemd's convention, which LXC keeps, too */
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

/* The first generation shows no control groups. */
static bool shows_control_groups(void)
{
    bool found = false;
    DIR *directory = opendir("/sys/fs/cgroup");
    if (directory == NULL)
        return false;
    for (const struct dirent *entry; !found && (entry = readdir(directory)) != NULL;)
        found = entry->d_name[0] != '.';
    closedir(directory);
    return found;
}

static void find_other(struct pye_platform *platform)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *variable = others[i].variable, *file = others[i].file;
        if (variable != NULL && pye_platform_variable(variable) != NULL)
            platform->told_by = variable;
        else if (file != NULL && access(file, F_OK) == 0)
            platform->told_by = file;
        else
            continue;
        platform->id = others[i].id;
        platform->title = others[i].title;
        return;
    }
}

void pye_platform_find(struct pye_platform *platform)
{
    const struct pye_cloud_run *kind = pye_cloud_run_find();
    *platform = (struct pye_platform){.id = "plain", .title = "plain"};
    if (kind == NULL) {
        find_other(platform);
        return;
    }
    *platform = (struct pye_platform){
        .id = kind->id,
        .title = kind->title,
        .name = pye_platform_variable(kind->name),
        .revision = pye_platform_variable(kind->revision),
        .told_by = kind->name,
    };
    if (kind == &cloud_run[0] && pye_platform_variable("KUBERNETES_SERVICE_HOST") != NULL) {
        platform->id = "knative-service"; /* the same variables, in a cluster of one's own */
        platform->title = "Knative service";
    } else {
        platform->generation = kind != &cloud_run[0] || shows_control_groups() ? 2 : 1;
    }
}
