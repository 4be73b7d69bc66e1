#include "embed/snapshot/kernel.h"

#include "launcher/log.h"

#if PYE_SNAPSHOTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

enum { FIRST_RSEQ_BYTES = 32, MASK_BYTES = sizeof(uint64_t), STACK_GUARD = 1024 * 1024 };

/* As the kernel has it: struct sigaction is the C library's. */
struct action {
    uint64_t handler, flags, restorer, mask;
};

static struct {
    struct action actions[PYE_SIGNALS];
    stack_t signal_stack;
    int *tid;
    void *robust_list;
    size_t robust_list_bytes;
    char *loader_data;
    size_t loader_bytes;
    struct pye_clock clocks[PYE_CLOCKS];
    size_t clocks_count;
    uint64_t stack_least, stack_start, stack_end; /* the main thread's, and where it may begin */
    rlim_t stack_limit;
    uint32_t sse_control;
    uint16_t fpu_control;
} kernel;

extern void *__curbrk; /* NOLINT(bugprone-reserved-identifier): the C library's idea of the heap's end */

void pye_kernel_prepare(const struct pye_taking *taking)
{
    kernel.clocks_count = taking->clocks_count;
    memcpy(kernel.clocks, taking->clocks, taking->clocks_count * sizeof *taking->clocks);
    kernel.loader_data = pye_machine_loader_data(&kernel.loader_bytes);
    kernel.stack_least = taking->arena_end + STACK_GUARD;
    kernel.stack_start = taking->stack_start;
    kernel.stack_end = taking->stack_end;
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_STACK, &limit);
    kernel.stack_limit = limit.rlim_cur;
}

bool pye_kernel_note(void)
{
    for (int number = 1; number < PYE_SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, NULL, &kernel.actions[number], MASK_BYTES);
    sigaltstack(NULL, &kernel.signal_stack);
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(kernel.sse_control), "=m"(kernel.fpu_control));
    if (prctl(PR_GET_TID_ADDRESS, &kernel.tid) == 0
        && syscall(SYS_get_robust_list, 0, &kernel.robust_list, &kernel.robust_list_bytes) == 0)
        return true;
    pye_log("the snapshot was not taken: this kernel does not tell where the C library keeps its thread: %s",
            strerror(errno));
    return false;
}

/* --- at a start --- */

static void renew_rseq(void)
{
#ifdef RSEQ_SIG
    if (__rseq_size == 0)
        return;
    struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    memset(area, 0, FIRST_RSEQ_BYTES);
    area->cpu_id = (uint32_t)RSEQ_CPU_ID_UNINITIALIZED;
    if (syscall(SYS_rseq, area, FIRST_RSEQ_BYTES, 0, RSEQ_SIG) != 0)
        area->cpu_id = (uint32_t)RSEQ_CPU_ID_REGISTRATION_FAILED;
#endif
}

/* A disposition that was inherited stays, unless the snapshot has a handler for it. */
static void renew_actions(uint64_t *ignored)
{
    struct action now;
    *ignored = 0;
    for (int number = 1; number < PYE_SIGNALS; number++) {
        if (syscall(SYS_rt_sigaction, number, NULL, &now, MASK_BYTES) != 0)
            continue;
        if (now.handler == (uint64_t)(uintptr_t)SIG_IGN)
            *ignored |= (uint64_t)1 << (number - 1);
        if (kernel.actions[number].handler != (uint64_t)(uintptr_t)SIG_DFL)
            syscall(SYS_rt_sigaction, number, &kernel.actions[number], NULL, MASK_BYTES);
    }
}

void pye_kernel_give_back(uint64_t ignored)
{
    for (int number = 1; number < PYE_SIGNALS; number++) {
        void (*handler)(int) = pye_kernel_ignored(ignored, number) ? SIG_IGN : SIG_DFL;
        struct action action = {.handler = (uint64_t)(uintptr_t)handler};
        syscall(SYS_rt_sigaction, number, &action, NULL, MASK_BYTES);
    }
}

/* The image was made without the kernel's clocks: they are at another address in each process. */
static void renew_clocks(const struct pye_start *start)
{
    uintptr_t first = PYE_PAGE_DOWN((uintptr_t)kernel.loader_data);
    size_t bytes = (uintptr_t)kernel.loader_data + kernel.loader_bytes - first;
    void *pages = (void *)first; /* NOLINT(performance-no-int-to-ptr): the loader's */
    if (kernel.loader_data == NULL || start->vdso == 0 || mprotect(pages, bytes, PROT_READ | PROT_WRITE) < 0)
        return;
    for (size_t i = 0; i < kernel.clocks_count; i++) {
        const struct pye_clock *clock = &kernel.clocks[i];
        uint64_t function = pye_machine_clock(start->vdso, clock->function);
        if (function != 0 && clock->offset + sizeof function <= kernel.loader_bytes)
            memcpy(kernel.loader_data + clock->offset, &function, sizeof function);
    }
    mprotect(pages, bytes, PROT_READ);
}

/* Adds what the limit allows more, at once: it is no stack that the kernel lets grow. Where there is no memory for that
 * it stays as it was; so it does where something is in the way, and the kernel chooses another place. */
static void lengthen_stack(rlim_t limit)
{
    bool fits = limit < kernel.stack_end - kernel.stack_least;
    uint64_t start = fits ? PYE_PAGE_DOWN(kernel.stack_end - limit) : kernel.stack_least;
    if (start >= kernel.stack_start)
        return;
    size_t bytes = kernel.stack_start - start;
    void *wanted = (void *)start; /* NOLINT(performance-no-int-to-ptr): below the stack */
    void *got = mmap(wanted, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got != MAP_FAILED && got != wanted)
        munmap(got, bytes);
}

/* As the C library does when it begins. */
static void resize_thread_stacks(rlim_t bytes)
{
    pthread_attr_t attributes;
    if (pthread_getattr_default_np(&attributes) != 0)
        return;
    if (pthread_attr_setstacksize(&attributes, PYE_PAGE_UP(bytes)) == 0)
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

static void renew_stacks(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    lengthen_stack(limit.rlim_cur);
    if (limit.rlim_cur != kernel.stack_limit)
        resize_thread_stacks(limit.rlim_cur);
}

void pye_kernel_renew(const struct pye_start *start, uint64_t *ignored)
{
    *kernel.tid = (int)syscall(SYS_set_tid_address, kernel.tid);
    /* Before anything allocates: the C library takes a break above the one that it asks for as granted. */
    __curbrk = (void *)syscall(SYS_brk, 0); /* NOLINT(performance-no-int-to-ptr): an address */
    syscall(SYS_set_robust_list, kernel.robust_list, kernel.robust_list_bytes);
    renew_rseq();
    renew_actions(ignored);
    if (!(kernel.signal_stack.ss_flags & SS_DISABLE))
        sigaltstack(&kernel.signal_stack, NULL);
    environ = start->environment;
    renew_clocks(start);
    renew_stacks();
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(kernel.sse_control), "m"(kernel.fpu_control));
}

#endif
