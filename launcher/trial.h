/* The first start from a snapshot, by its builder: it shows that there can be one, and which memory each of them writes
 * to before anything of the program's own. */
#ifndef PYE_TRIAL_H
#define PYE_TRIAL_H

#include "launcher/options.h"

/* Starts from the file at path, which is open for writing and has its image at base, up to where the program would begin,
 * and on through the warm-up; what was written to by then is noted in the file. program: argv[0]. False, with a line
 * printed: there is no start from it. build_ms: how long the build took, warm-up included. */
bool pye_trial(const char *path, int file, uint64_t base, char *program, const struct pye_options *options,
               int64_t build_ms);

#endif
