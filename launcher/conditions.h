/* What must be at a start as it was when the snapshot was taken: the program's path, python's options, the
 * environment as far as it was read. Told as the words of an image. */
#ifndef PYE_CONDITIONS_H
#define PYE_CONDITIONS_H

#include "launcher/image.h"

enum { PYE_REASON_BYTES = 512, PYE_OPTIONS_BYTES = 1024 };

/* The words of this process, for a new image. The bytes; 0 where they do not fit. */
size_t pye_conditions_tell(char *out, size_t room, char **argv);

/* Appends one word behind the first *length bytes. False where it does not fit. */
bool pye_conditions_append(char *out, size_t room, size_t *length, const struct pye_word *word);

/* Whether all is as the words say, and this machine as the header says; else a reason, which begins with what
 * differs. */
bool pye_conditions_hold(const struct pye_image *image, char **argv, char reason[PYE_REASON_BYTES]);

/* Whether all is as the words say, and no more. */
bool pye_conditions_words_hold(const struct pye_image *image, char **argv, char reason[PYE_REASON_BYTES]);

/* python's options in argv as one text in one form: "-O -X dev". -u is left out, since pyentry's output is never kept
 * back. False where they are too long. *target: whether a program follows, rather than nothing. */
bool pye_python_options(char **argv, char text[PYE_OPTIONS_BYTES], bool *target);

#endif
