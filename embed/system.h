/* os.system(), with a wait that a signal ends.
 *
 * The C library's system() begins its wait anew after each signal: Python's handlers, and with them Terminated, would
 * come when the command has ended by itself. In all else this one does as that one. */
#ifndef PYE_SYSTEM_H
#define PYE_SYSTEM_H

int pye_system_install(void);

#endif
