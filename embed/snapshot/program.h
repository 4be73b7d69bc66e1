/* The program that a process runs which starts from a snapshot. */
#ifndef PYE_SNAPSHOT_PROGRAM_H
#define PYE_SNAPSHOT_PROGRAM_H

#include <Python.h>

/* What called for the snapshot is not there any more: the program begins below no frame. */
void pye_program_forget_frames(void);

/* Tells the interpreter of a new command line, whose options are those that it began with; where there is nothing on it
 * the one of the snapshot stays. 0, or -1 with an exception. */
int pye_program_choose(int argc, char **argv);

#endif
