#include "launcher/health.h"

#include "launcher/log.h"

#include <stdlib.h>

int pye_healthcheck(int argc, char **argv)
{
    (void)argc;
    pye_log("--healthcheck %s: this version cannot do it yet", argv[1] == NULL ? "" : argv[1]);
    return EXIT_FAILURE;
}
