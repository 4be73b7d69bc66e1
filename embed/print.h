/* print() in one piece: what goes to a standard stream is one string and one write. To any other file it makes
 * the calls that python's own makes, by calling it. */
#ifndef PYE_PRINT_H
#define PYE_PRINT_H

/* Puts builtins.print in. 0, or -1 with an exception. */
int pye_print_install(void);

#endif
