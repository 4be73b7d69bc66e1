/* Whose a bundle's command line is, and the arguments that the bundle brings along. */
#ifndef PYE_COMMANDLINE_H
#define PYE_COMMANDLINE_H

#include "embed/bundle/bundle.h"

enum pye_bundle_name { PYE_CALLED_OTHERWISE, PYE_CALLED_PYTHON, PYE_CALLED_PYENTRY };

/* A link to the bundle by the name of python (python3, python3.11), or of pyentry, is that. */
enum pye_bundle_name pye_bundle_called(const char *path);

/* Whether it begins as python's does where a library starts another interpreter: -c, -m, -I, -B, -S, -u, -X, -W, -E or
 * -s in front, or a file of the bundle. */
bool pye_bundle_asks_for_python(const struct pye_bundle *bundle, int argc, char *const *argv);

/* Makes the bundle's own path argv[0], and takes the arguments of --args where an app was given none. False, with its
 * line printed, where one of them needs a variable that is not set. */
bool pye_bundle_arguments(struct pye_bundle *bundle, int *argc, char ***argv);

/* pye_bundle_expand, or NULL with the line that says what is missing printed. */
char *pye_bundle_expanded(const char *text, size_t length);

#endif
