#include "launcher/remap.h"

#include "launcher/bare.h"
#include "launcher/image.h"

#if PYE_SNAPSHOTS

#include <asm/prctl.h>
#include <errno.h>
#include <linux/unistd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PART static inline __attribute__((always_inline))

enum { FAILURE_STATUS = 1 };

PART int map(const struct pye_step *step)
{
    long at = pye_call(__NR_mmap, step->start, step->bytes, (uint64_t)step->protection, (uint64_t)step->flags,
                       (uint64_t)step->fd, step->offset);
    if (at == (long)step->start)
        return 0;
    if (at < 0)
        return (int)-at;
    /* A kernel before 4.17 takes MAP_FIXED_NOREPLACE for a hint. */
    pye_call(__NR_munmap, (uint64_t)at, step->bytes, 0, 0, 0, 0);
    return EEXIST;
}

PART int fill(const struct pye_step *step)
{
    for (uint64_t done = 0; done < step->bytes;) {
        long got = pye_call(__NR_pread64, (uint64_t)step->fd, step->start + done, step->bytes - done,
                            step->offset + done, 0, 0);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? (int)-got : EIO;
        done += (uint64_t)got;
    }
    return 0;
}

PART int make(const struct pye_step *step)
{
    switch (step->kind) {
    case PYE_STEP_MAP:
        return map(step);
    case PYE_STEP_READ:
        return fill(step);
    case PYE_STEP_DROP:
        return (int)-pye_call(__NR_munmap, step->start, step->bytes, 0, 0, 0, 0);
    case PYE_STEP_BRING:
        pye_call(__NR_madvise, step->start, step->bytes, MADV_POPULATE_WRITE, 0, 0, 0);
        return 0;
    case PYE_STEP_WIPE:
        for (uint64_t i = 0; i < step->bytes; i++)
            ((volatile char *)step->start)[i] = 0; /* NOLINT(performance-no-int-to-ptr): an address of the plan's */
        return 0;
    }
    return EINVAL;
}

int pye_step(const struct pye_step *step)
{
    return make(step);
}

__attribute__((noinline)) void pye_leap(const struct pye_step *steps, size_t count, const struct pye_landing *landing)
{
    static const char lost[] = "pyentry: memory ran out in the middle of the exchange of two programs\n";
    for (size_t i = 0; i < count; i++) {
        if (make(&steps[i]) != 0) {
            pye_call(__NR_write, STDERR_FILENO, (uint64_t)lost, sizeof lost - 1, 0, 0, 0);
            pye_call(__NR_exit_group, FAILURE_STATUS, 0, 0, 0, 0, 0);
        }
    }
    if (landing->thread_pointer != 0)
        pye_call(__NR_arch_prctl, ARCH_SET_FS, landing->thread_pointer, 0, 0, 0, 0);
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "xor %%edx, %%edx\n\t" /* what the loader would register with atexit */
                     "jmp *%1"
                     :
                     : "S"(landing->stack_pointer), "a"(landing->entry), "D"(landing->argument)
                     : "rdx", "memory");
    __builtin_unreachable();
}

#endif
