/* The parts and the processor of this process: what a snapshot's must equal. */
#ifndef PYE_MACHINE_H
#define PYE_MACHINE_H

#include "launcher/image.h"
#include "launcher/processor.h"

/* False where pyentry, the loader or the C library was linked without a build id: *what says which. */
bool pye_machine_find(struct pye_machine *machine, const char **what);

/* Whether the loader and the C library, as the files are that this process had them from, are those of machine. */
bool pye_machine_on_disk(const struct pye_machine *machine);

/* Why a snapshot of then cannot be used here; NULL: it can. */
const char *pye_machine_differs(const struct pye_machine *then, const struct pye_machine *now);

/* The writable part of pyentry itself, whole pages; 0 and 0 where it may lie anywhere (a position-independent one). */
void pye_machine_program(uint64_t *start, uint64_t *end);

/* All of pyentry itself, as it lies in this process; and how far from where it was linked to. */
uint64_t pye_machine_code(uint64_t *start, uint64_t *end);

/* The loader's words that point to the kernel's own functions (the vdso): offsets in its read-only data, and which
 * functions. The number of them; 0: system calls are made instead. */
enum { PYE_CLOCKS = 16 };
struct pye_clock {
    uint64_t offset;
    uint64_t function; /* an index for pye_machine_clock */
};
size_t pye_machine_clocks(struct pye_clock clocks[PYE_CLOCKS]);

/* Where the kernel has that function in the process with this vdso; 0: nowhere. */
uint64_t pye_machine_clock(uint64_t vdso, uint64_t function);

/* That data of the loader's; NULL where it is not known. */
void *pye_machine_loader_data(size_t *bytes);

/* The kernel forgets the C library's restartable sequences, whose memory is about to go. */
void pye_leave_rseq(void);

#endif
