/* A start from a snapshot: its memory back in place, before any Python exists.
 *
 *     if (!pye_restore_prepare(&options, argv)) return EXIT_FAILURE;   before there is an init
 *     if (!pye_restore(argc, argv, &options)) return EXIT_FAILURE;     in the process that is to be Python
 *
 * Whatever does not fit means a normal start, and one line that says so; with --restore-or-fail, the end. */
#ifndef PYE_RESTORE_H
#define PYE_RESTORE_H

#include "launcher/options.h"

/* Looks whether the snapshot that the options name can be used here. Where its addresses are taken, pyentry begins
 * anew a few times, for others. False: it cannot, and nothing else was wanted. */
bool pye_restore_prepare(const struct pye_options *options, char **argv);

/* Does not return where there is a snapshot to start from. True: Python is to be started. */
bool pye_restore(int argc, char **argv, const struct pye_options *options);

/* Both for a start that somebody watches: the program does not run. base is where in the file the image is; of a bundle
 * it is what will be in it. watcher is a descriptor that gets a byte at each point that there is something to see; the
 * process goes no further than the last. */
bool pye_restore_watched(char **argv, const struct pye_options *options, uint64_t base, int watcher);

/* Takes the variables away that name a snapshot: who starts a Python from this one wants that program, not ours again. */
void pye_restore_forget(void);

#endif
