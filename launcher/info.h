/* pyentry --info: what pyentry sees, for whoever wonders about a container. No interpreter is started. */
#ifndef PYE_INFO_H
#define PYE_INFO_H

#include "launcher/limits.h"
#include "launcher/options.h"
#include "launcher/platform.h"
#include "launcher/shell.h"
#include "launcher/streams.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* More warnings than there can be. */
enum { PYE_WARNINGS = 40, PYE_WARNING_BYTES = 400 };

struct pye_info {
    const struct pye_options *options;
    struct {
        char executable[PATH_MAX], prefix[PATH_MAX]; /* as sys has them */
        char library[PATH_MAX];                      /* the shared libpython; empty where it is static */
    } python;
    struct {
        pid_t pid;
        bool init; /* whether pyentry would be an init around Python */
        const char *because;
        char first[PYE_COMM_BYTES]; /* the name of process 1; empty where it is not told */
    } process;
    struct pye_platform platform;
    int host_cpus;
    int64_t host_memory;
    struct pye_limit cpus, memory;
    bool quota_seen; /* whether a control group said something about the CPUs */
    struct pye_stream streams[3];
    int warnings;
    char warning[PYE_WARNINGS][PYE_WARNING_BYTES];
};

/* The command. Returns the exit status. */
int pye_info(int argc, char **argv, struct pye_options *options);

void pye_info_text(const struct pye_info *info, FILE *out);
void pye_info_json(const struct pye_info *info, FILE *out);

extern const char *const pye_stream_names[3];

#endif
