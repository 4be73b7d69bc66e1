/* pyentry's first instructions, where it is linked without a request for the dynamic loader (configure: "quick"): the
 * kernel comes here, and not to the loader. Either a snapshot is started from at once, or the loader gets what the kernel
 * would have given it. */
#include "config.h"

#include "launcher/bare.h"
#include "launcher/image.h"
#include "launcher/quick.h"
#include "launcher/segments.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/unistd.h>
#include <link.h>

enum { MOST_HEADERS = 24, NOT_FOUND_STATUS = 127 };

/* The C library's own first instruction of a program. */
extern void _start(void); /* NOLINT(bugprone-reserved-identifier) */

/* From the stack pointer: leaves the stack as it was, and goes where it is told. A loader that somebody has called by its own
 * name gives us something for atexit, which the kernel does not: all is done then. */
__asm__(".pushsection .text\n"
        ".globl pye_first\n"
        ".hidden pye_first\n"
        ".type pye_first, @function\n"
        "pye_first:\n\t"
        ".cfi_startproc\n\t"
        ".cfi_undefined rip\n\t"
        "test %rdx, %rdx\n\t"
        "jnz _start\n\t"
        "xor %ebp, %ebp\n\t"
        "mov %rsp, %rbx\n\t"
        "mov %rsp, %rdi\n\t"
        "and $-16, %rsp\n\t"
        "call pye_first_choose\n\t"
        "mov %rbx, %rsp\n\t"
        "xor %edx, %edx\n\t" /* what would be registered with atexit */
        "jmp *%rax\n\t"
        ".cfi_endproc\n"
        ".size pye_first, . - pye_first\n"
        ".popsection");

uint64_t pye_first_choose(uint64_t *stack) __attribute__((visibility("hidden")));

static const char loader[] = PYE_LOADER;
static ElfW(Phdr) headers[MOST_HEADERS];

static void *at(uint64_t address)
{
    return (void *)address; /* NOLINT(performance-no-int-to-ptr): the kernel's numbers */
}

static void fail(void) __attribute__((noreturn));
static void fail(void)
{
    static const char line[] = "pyentry: the dynamic loader cannot be used: " PYE_LOADER "\n";
    pye_call(__NR_write, 2, (uint64_t)line, sizeof line - 1, 0, 0, 0);
    for (;;)
        pye_call(__NR_exit_group, NOT_FOUND_STATUS, 0, 0, 0, 0, 0);
}

static ElfW(auxv_t) *find(ElfW(auxv_t) *auxiliary, uint64_t type)
{
    while (auxiliary->a_type != type) {
        if (auxiliary->a_type == AT_NULL)
            fail();
        auxiliary++;
    }
    return auxiliary;
}

/* --- the loader --- */

/* A place for all segments together: each is mapped over it. */
static uint64_t find_place(const ElfW(Phdr) *segments, size_t count)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (segments[i].p_type == PT_LOAD)
            end = PYE_PAGE_UP(segments[i].p_vaddr + segments[i].p_memsz);
    }
    long place = pye_call(__NR_mmap, 0, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0);
    if (place < 0)
        fail();
    return (uint64_t)place;
}

/* Returns its entry. */
static uint64_t load_loader(uint64_t *base)
{
    char page[PYE_IMAGE_PAGE] = {0};
    const ElfW(Ehdr) *header = (const void *)page;
    size_t count;
    long file = pye_call(__NR_open, (uint64_t)loader, O_RDONLY | O_CLOEXEC, 0, 0, 0, 0);
    if (file < 0 || pye_call(__NR_pread64, (uint64_t)file, (uint64_t)page, sizeof page, 0, 0, 0) != sizeof page)
        fail();
    const ElfW(Phdr) *segments = pye_headers_in(page, sizeof page, &count);
    if (segments == NULL || header->e_type != ET_DYN)
        fail();
    *base = find_place(segments, count);
    if (pye_segments_map(segments, count, *base, (int)file) != 0)
        fail();
    pye_call(__NR_close, (uint64_t)file, 0, 0, 0, 0, 0);
    return *base + header->e_entry;
}

/* The program's headers, with the request in them that the kernel was not to see: by it the loader knows its own name. */
static void add_request(ElfW(auxv_t) *auxiliary)
{
    ElfW(auxv_t) *table = find(auxiliary, AT_PHDR), *count = find(auxiliary, AT_PHNUM);
    const ElfW(Phdr) *given = at(table->a_un.a_val);
    if (count->a_un.a_val >= MOST_HEADERS)
        fail();
    for (size_t i = 0; i < count->a_un.a_val; i++) {
        headers[i] = given[i];
        if (given[i].p_type == PT_PHDR) /* by which the loader would take us for moved: this is another place */
            headers[i].p_type = PT_NULL;
    }
    headers[count->a_un.a_val++] = (ElfW(Phdr)){.p_type = PT_INTERP, .p_flags = PF_R, .p_align = 1,
                                                .p_vaddr = (uint64_t)loader, .p_paddr = (uint64_t)loader,
                                                .p_filesz = sizeof loader, .p_memsz = sizeof loader};
    table->a_un.a_val = (uint64_t)headers;
}

/* --- the way in --- */

uint64_t pye_first_choose(uint64_t *stack)
{
    int argc = (int)*stack;
    char **argv = (char **)(stack + 1), **environment = argv + argc + 1, **end = environment;
    while (*end != NULL)
        end++;
    ElfW(auxv_t) *auxiliary = (ElfW(auxv_t) *)(end + 1);
    uint64_t base;
    pye_quick(argc, argv, environment, auxiliary);
    uint64_t entry = load_loader(&base);
    add_request(auxiliary);
    find(auxiliary, AT_BASE)->a_un.a_val = base;
    find(auxiliary, AT_ENTRY)->a_un.a_val = (uint64_t)_start;
    return entry;
}
