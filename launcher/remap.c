#include "launcher/remap.h"

#include "launcher/image.h"

#if PYE_SNAPSHOTS

#include <asm/prctl.h>
#include <errno.h>
#include <linux/unistd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#include <sys/syscall.h>
#endif

/* Without a canary and without a call into a library: neither is there any more. */
#define BARE __attribute__((no_stack_protector, noinline))
#define PART_OF_BARE static inline __attribute__((always_inline))

enum { FAILURE_STATUS = 1 };

PART_OF_BARE long system_call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    register uint64_t fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

PART_OF_BARE int map(const struct pye_step *step)
{
    long at = system_call(__NR_mmap, step->start, step->bytes, (uint64_t)step->protection, (uint64_t)step->flags,
                          (uint64_t)step->fd, step->offset);
    if (at == (long)step->start)
        return 0;
    if (at < 0)
        return (int)-at;
    /* A kernel before 4.17 takes MAP_FIXED_NOREPLACE for a hint. */
    system_call(__NR_munmap, (uint64_t)at, step->bytes, 0, 0, 0, 0);
    return EEXIST;
}

PART_OF_BARE int fill(const struct pye_step *step)
{
    for (uint64_t done = 0; done < step->bytes;) {
        long got = system_call(__NR_pread64, (uint64_t)step->fd, step->start + done, step->bytes - done,
                               step->offset + done, 0, 0);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? (int)-got : EIO;
        done += (uint64_t)got;
    }
    return 0;
}

PART_OF_BARE int make(const struct pye_step *step)
{
    switch (step->kind) {
    case PYE_STEP_MAP:
        return map(step);
    case PYE_STEP_READ:
        return fill(step);
    case PYE_STEP_DROP:
        return (int)-system_call(__NR_munmap, step->start, step->bytes, 0, 0, 0, 0);
    case PYE_STEP_BRING:
        system_call(__NR_madvise, step->start, step->bytes, MADV_POPULATE_WRITE, 0, 0, 0);
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

BARE void pye_leap(const struct pye_step *steps, size_t count, const struct pye_landing *landing)
{
    static const char lost[] = "pyentry: memory ran out in the middle of the exchange of two programs\n";
    for (size_t i = 0; i < count; i++) {
        if (make(&steps[i]) != 0) {
            system_call(__NR_write, STDERR_FILENO, (uint64_t)lost, sizeof lost - 1, 0, 0, 0);
            system_call(__NR_exit_group, FAILURE_STATUS, 0, 0, 0, 0, 0);
        }
    }
    if (landing->thread_pointer != 0)
        system_call(__NR_arch_prctl, ARCH_SET_FS, landing->thread_pointer, 0, 0, 0, 0);
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "xor %%edx, %%edx\n\t" /* what the loader would register with atexit */
                     "jmp *%1"
                     :
                     : "S"(landing->stack_pointer), "a"(landing->entry), "D"(landing->argument)
                     : "rdx", "memory");
    __builtin_unreachable();
}

void pye_leave_rseq(void)
{
#ifdef RSEQ_SIG
    if (__rseq_size > 0) {
        enum { FIRST_RSEQ_BYTES = 32, UNREGISTER = 1 };
        syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, FIRST_RSEQ_BYTES, UNREGISTER, RSEQ_SIG);
    }
#endif
}

#endif
