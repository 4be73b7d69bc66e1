/* pyentry's own options, from the command line and the environment.
 *
 * One table in options.c is behind the parser, --help and the PYENTRY_* variables, and a second one holds the
 * commands; the manual page, the completions and the README are checked against --help. */
#ifndef PYE_OPTIONS_H
#define PYE_OPTIONS_H

#include "embed/embed.h"
#include "launcher/log.h"

enum pye_init { PYE_INIT_AUTO, PYE_INIT_ALWAYS, PYE_INIT_NEVER };

enum pye_action {
    PYE_RUN,
    PYE_SHOW_HELP,
    PYE_SHOW_VERSION,
    PYE_HEALTHCHECK,
    PYE_INFO,
    PYE_BUILD_BUNDLE,
    PYE_SNAPSHOT,
    PYE_USAGE_ERROR
};

enum { PYE_STATUS_USAGE = 2 }; /* a wrong command line, as python has it */

struct pye_options {
    enum pye_init init;
    int64_t stop_timeout; /* milliseconds after SIGTERM; 0: never */
    enum pye_log_format log_format;
    const char *restore; /* the snapshot to start from; "": none */
    enum pye_switch restore_or_fail;
    struct pye_settings python;
    unsigned given; /* one bit for each option of the table: the command line has it */
};

/* An option as it stands, and where that comes from. */
struct pye_option_report {
    const char *name;
    const char *value; /* NULL: none */
    enum { PYE_FROM_DEFAULT, PYE_FROM_VARIABLE, PYE_FROM_COMMAND_LINE } from;
    char variable[64];
    const char *takes; /* NULL, or the value is not valid: then what it takes */
};

/* Reads the options and takes pyentry's own out of argv. What the command line gave is also put into the
 * environment, so that a Python started by this one behaves the same. Prints the line of a usage error; the log's format
 * is in force as soon as it is known.
 *
 * A command stands in the place of an option and ends them: it is taken out of argv too, so that what is left behind
 * argv[0] is its own to parse. In a bundle, the command line is left alone unless the bundle is called pyentry. For a command the environment's options are not read. */
enum pye_action pye_options_read(struct pye_options *options, int *argc, char **argv);

void pye_options_help(void);

/* For a command that wants the environment's options all the same: what is not valid is passed over. */
void pye_options_take_environment(struct pye_options *options);

/* The options in the order of the table. False behind the last. */
bool pye_options_report(const struct pye_options *options, size_t index, struct pye_option_report *report);

#endif
