/* The parts and the processor of this process: what a snapshot's must equal. */
#ifndef PYE_MACHINE_H
#define PYE_MACHINE_H

#include "launcher/image.h"

/* False where pyentry, the loader or the C library was linked without a build id: *what says which. */
bool pye_machine_find(struct pye_machine *machine, const char **what);

/* Why a snapshot of then cannot be used here; NULL: it can. */
const char *pye_machine_differs(const struct pye_machine *then, const struct pye_machine *now);

/* The writable part of pyentry itself, whole pages; 0 and 0 where it may lie anywhere (a position-independent one). */
void pye_machine_program(uint64_t *start, uint64_t *end);

/* All of pyentry itself, as it lies in this process; and how far from where it was linked to. */
uint64_t pye_machine_code(uint64_t *start, uint64_t *end);

/* The loader's words that point to the kernel's own functions (the vdso), as offsets in its read-only data, and what
 * they hold in this process. The number of them; 0: system calls are made instead. */
enum { PYE_CLOCKS = 16 };
struct pye_clock {
    uint64_t offset, value;
};
size_t pye_machine_clocks(struct pye_clock clocks[PYE_CLOCKS]);

/* That data of the loader's; NULL where it is not known. */
void *pye_machine_loader_data(size_t *bytes);

#endif
