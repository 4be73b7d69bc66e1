/* The parts and the processor of this process: what a snapshot's must equal. */
#ifndef PYE_MACHINE_H
#define PYE_MACHINE_H

#include "launcher/image.h"

/* The places of some words in cpu, which bits of CPUID are in it. */
enum { PYE_CPU_1_ECX, PYE_CPU_1_EDX, PYE_CPU_7_EBX, PYE_CPU_7_ECX };

/* False where pyentry, the loader or the C library was linked without a build id: *what says which. */
bool pye_machine_find(struct pye_machine *machine, const char **what);

/* The processors that a snapshot is for: the builder's own, or those of a level of x86-64, which have AVX2 (v3) or SSE4.2
 * (v2), and what all of them have besides. */
enum pye_level { PYE_LEVEL_NATIVE, PYE_LEVEL_V3, PYE_LEVEL_V2 };

/* Leaves of what the processor must have only what those of the level do. */
void pye_machine_limit(struct pye_machine *machine, enum pye_level level);

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
