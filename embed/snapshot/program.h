/* The program that a process runs which starts from a snapshot. */
#ifndef PYE_SNAPSHOT_PROGRAM_H
#define PYE_SNAPSHOT_PROGRAM_H

#include <Python.h>

/* The exception that is being handled and the contexts that were entered where the snapshot was asked for, which are not
 * the program's at a start. At the build: what is let go runs code of its own. */
void pye_program_leave(void);

/* What called for the snapshot is not there any more: the program begins below no frame. */
void pye_program_forget_frames(void);

/* Tells the interpreter of a new command line, whose options are those that it began with; where there is nothing on it
 * the one of the snapshot stays. 0, or -1 with an exception. */
int pye_program_choose(int argc, char **argv);

#endif
