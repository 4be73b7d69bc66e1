/* What the kernel keeps for a process, and the C library relies on: noted in the process that is written down,
 * renewed in each that starts from it. */
#ifndef PYE_SNAPSHOT_KERNEL_H
#define PYE_SNAPSHOT_KERNEL_H

#include "embed/embed.h"

/* In the process that is to use it: where the loader keeps the addresses of the kernel's clocks. */
void pye_kernel_prepare(const struct pye_taking *taking);

/* In the process that is written down. False, with a line printed, where this kernel does not tell. */
bool pye_kernel_note(void);

/* First of all in a process that starts. *ignored: one bit for each signal, from the lowest, that was ignored. */
void pye_kernel_renew(const struct pye_start *start, uint64_t *ignored);

static inline bool pye_kernel_ignored(uint64_t ignored, int number)
{
    return ignored >> (number - 1) & 1;
}

/* All signals have the actions again that they had when the process began. */
void pye_kernel_give_back(uint64_t ignored);

#endif
