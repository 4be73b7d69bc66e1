/* Memory put in place below the running program, and the jump into it.
 *
 * Both the process that takes a snapshot and the one that starts from it exchange pyentry's own data and drop the C
 * library that they began with. From the first such step on nothing but system calls and the registers can be used. */
#ifndef PYE_REMAP_H
#define PYE_REMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* For steps, where the C library is older than the kernel. */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum pye_step_kind {
    PYE_STEP_MAP,   /* mmap */
    PYE_STEP_READ,  /* the file's bytes into memory that is there */
    PYE_STEP_DROP,  /* munmap */
    PYE_STEP_BRING, /* pages that will be written to; a kernel that cannot, need not */
    PYE_STEP_WIPE,  /* zeros into memory that is there */
};

struct pye_step {
    enum pye_step_kind kind;
    int protection, flags, fd;
    uint64_t start, bytes, offset;
};

/* Where to go on. */
struct pye_landing {
    uint64_t thread_pointer; /* 0: the new program sets it */
    uint64_t stack_pointer;
    uint64_t entry;
    uint64_t argument; /* the entry's first */
};

/* Makes one step, with nothing of ours in its way. 0, or the error number; EEXIST: the place is taken. */
int pye_step(const struct pye_step *step);

/* Makes the steps and goes. Where one fails there is nothing to go back to: the process says so and ends. All signals
 * are blocked, or have their default action; steps and landing lie in memory that stays. */
void pye_leap(const struct pye_step *steps, size_t count, const struct pye_landing *landing)
    __attribute__((noreturn));

#endif
