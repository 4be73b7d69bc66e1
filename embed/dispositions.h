/* What the signals do when a process begins, without a system call for each.
 *
 * CPython's signal module asks for all 64 of them. An exec leaves them either ignored or at their default, and
 * /proc/self/status says which. So between the two calls here, sigaction() as libpython and we call it (the linker's
 * --wrap) has the answer at hand for every signal that nobody has set meanwhile. */
#ifndef PYE_DISPOSITIONS_H
#define PYE_DISPOSITIONS_H

/* Where /proc is missing, each question goes to the kernel. */
void pye_dispositions_read(void);

/* Before any code runs that may set one past this sigaction(). */
void pye_dispositions_forget(void);

#endif
