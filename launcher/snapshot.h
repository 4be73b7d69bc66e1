/* pyentry --snapshot: a file to start from. docs/snapshots.md */
#ifndef PYE_SNAPSHOT_H
#define PYE_SNAPSHOT_H

#include "launcher/options.h"

/* Takes the command line with the command's own word gone. Returns the exit status: 0 the file is there, 1 it is not,
 * 2 the command line is wrong.
 *
 * Three processes: this one, which watches, and gives the file its name at the end; one that begins anew in an arena,
 * comes here again, and runs Python; and one forked from that, which writes its own memory down. */
int pye_snapshot(int argc, char **argv, const struct pye_options *options);

#endif
