#include "config.h"

#include "launcher/hygiene.h"

#include "launcher/values.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PID_LIMIT = 1 << 22, PID_BYTES = 16, DESCRIPTORS_TRIED = 65536, STACK_BYTES = 64 * 1024 };

void pye_rewrite_listen_pid(pid_t ours)
{
    const char *listener = getenv("LISTEN_PID");
    char text[PID_BYTES];
    long pid;
    if (listener == NULL || !pye_parse_number(listener, 1, PID_LIMIT, &pid) || pid != ours)
        return;
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
}

static void close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    /* A kernel before 5.9. */
    struct rlimit limit = {.rlim_cur = DESCRIPTORS_TRIED};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur && fd < DESCRIPTORS_TRIED; fd++)
        close((int)fd);
}

/* Gives back the pages of a segment but those of the dynamic section, which the loader looks at when one of our own
 * functions is bound late. */
static void discard(uintptr_t start, uintptr_t end, uintptr_t dynamic, uintptr_t dynamic_end)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (start &= ~(page - 1); start < end; start += page) {
        if (start + page <= dynamic || start >= dynamic_end)
            madvise((void *)start, page, MADV_DONTNEED); /* NOLINT(performance-no-int-to-ptr): the loader's numbers */
    }
}

/* libpython is Python's alone: its pages, those above all that the loader relocated, are given back. Other libraries may
 * be ours, too, by LD_PRELOAD. */
static int forget_libpython(struct dl_phdr_info *object, size_t size, void *unused)
{
    uintptr_t dynamic = 0, dynamic_end = 0;
    (void)size;
    (void)unused;
    if (object->dlpi_name == NULL || strstr(object->dlpi_name, "/libpython") == NULL)
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_DYNAMIC) {
            dynamic = object->dlpi_addr + segment->p_vaddr;
            dynamic_end = dynamic + segment->p_memsz;
        }
    }
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD)
            discard(start, start + segment->p_memsz, dynamic, dynamic_end);
    }
    return 0;
}

/* What only the start needed of the stack and the heap: buffers for the files of the control groups. */
static void forget_start(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) & ~(page - 1)) - page; /* of calls from here a page is enough */
    madvise((void *)(end - STACK_BYTES), STACK_BYTES, MADV_DONTNEED); /* NOLINT(performance-no-int-to-ptr) */
#ifdef HAVE_MALLOC_TRIM
    malloc_trim(0);
#endif
}

void pye_let_go(int keep)
{
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close_between(STDERR_FILENO + 1, keep < 0 ? ~0U : (unsigned)keep - 1);
    if (keep >= 0)
        close_between((unsigned)keep + 1, ~0U);
    if (chdir("/") < 0) {
        /* then it stays where it is: there is nothing else to hold on to */
    }
    dl_iterate_phdr(forget_libpython, NULL);
    forget_start();
}
