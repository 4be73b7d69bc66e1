#include "launcher/confirm.h"

#include "launcher/image.h"

#if PYE_SNAPSHOTS

#include "launcher/conditions.h"
#include "launcher/machine.h"
#include "launcher/quick.h"
#include "launcher/restore.h"
#include "launcher/shell.h"
#include "launcher/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **words; /* the command line, before the options are taken out of it */

/* Whether all is as the ordinary way would have it, without a word said. */
static bool is_right(struct pye_start *start, struct pye_options *options)
{
    char reason[PYE_REASON_BYTES];
    return pye_options_read(options, &start->argc, start->argv) == PYE_RUN && strcmp(options->restore, start->name) == 0
           && !pye_supervises(options) && pye_machine_on_disk(&start->unconfirmed->header.machine)
           && pye_conditions_words_hold(start->unconfirmed, start->argv, reason);
}

bool pye_confirm(struct pye_start *start)
{
    struct pye_options options;
    size_t bytes = ((size_t)start->argc + 1) * sizeof *start->argv;
    words = malloc(bytes);
    if (words != NULL)
        memcpy(words, start->argv, bytes);
    pye_log_hold(true);
    bool right = is_right(start, &options);
    if (pye_log_hold(false) || !right)
        return false;
    free(words);
    pye_restore_forget();
    pye_warn_of_shell();
    pye_supervised(&options);
    start->settings = options.python;
    start->log_format = (int)options.log_format;
    return true;
}

void pye_begin_anew(const struct pye_start *start)
{
    sigprocmask(SIG_SETMASK, &start->signals, NULL);
    if (words != NULL && setenv(PYE_RESTORE_TRIES, "0", 1) == 0)
        execv("/proc/self/exe", words);
    pye_log("%s was used, and does not fit, and pyentry cannot begin anew: %s", start->name, strerror(errno));
    _exit(EXIT_FAILURE);
}

#endif
