/* A table of contents: read the options, pick the role, go. */
#include "config.h"

#include "embed/embed.h"
#include "launcher/arena.h"
#include "launcher/descendants.h"
#include "launcher/health.h"
#include "launcher/info.h"
#include "launcher/options.h"
#include "launcher/restore.h"
#include "launcher/shell.h"
#include "launcher/snapshot.h"
#include "launcher/supervise.h"

#include <stdio.h>
#include <stdlib.h>

static int show_version(void)
{
    printf("Python %s (pyentry %s)\n", pye_python_version(), PACKAGE_VERSION);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct pye_options options;
    const struct pye_arena *arena = pye_arena_here();

    pye_stop_guard();
    if (!pye_bundle_begin(&argc, &argv, arena == NULL ? "" : arena->at))
        return EXIT_FAILURE;
    switch (pye_options_read(&options, &argc, argv)) {
    case PYE_USAGE_ERROR:
        return PYE_STATUS_USAGE;
    case PYE_SHOW_VERSION:
        return show_version();
    case PYE_HEALTHCHECK:
        return pye_healthcheck(argc, argv);
    case PYE_INFO:
        return pye_info(argc, argv, &options);
    case PYE_BUILD_BUNDLE:
        if (!pye_bundle_build(&argc, &argv))
            return EXIT_FAILURE;
        break;
    case PYE_SNAPSHOT:
        return pye_snapshot(argc, argv, &options);
    case PYE_SHOW_HELP:
        pye_options_help(); /* python adds its own: --help is still in argv */
        options.restore_or_fail = PYE_OFF; /* no program's start */
        break;
    case PYE_RUN:
        break;
    }
    if (!pye_restore_prepare(&options, argv))
        return EXIT_FAILURE;
    pye_warn_of_shell();
    if (pye_supervises(&options) && !pye_supervise(&options))
        return EXIT_FAILURE;
    pye_supervised(&options);
    if (!pye_restore(argc, argv, &options))
        return EXIT_FAILURE;
    pye_children_note(); /* anew, where this is the init's child */
    pye_signals_configure(&options.python);
    return pye_run_python(argc, argv, &options.python);
}
