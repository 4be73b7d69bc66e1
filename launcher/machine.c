#include "launcher/machine.h"

#include "launcher/cpuid.h"

#if PYE_SNAPSHOTS

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* --- build ids --- */

static const char *const part_names[] = {
    [PYE_PART_PYENTRY] = "pyentry", [PYE_PART_LOADER] = "the dynamic loader", [PYE_PART_LIBC] = "the C library"};

struct search {
    struct pye_machine *machine;
    bool found[PYE_PARTS];
};

static int part_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (*path == '\0')
        return PYE_PART_PYENTRY;
    if (strncmp(name, "ld-linux", strlen("ld-linux")) == 0 || strncmp(name, "ld-2.", strlen("ld-2.")) == 0)
        return PYE_PART_LOADER;
    if (strncmp(name, "libc.so", strlen("libc.so")) == 0 || strncmp(name, "libc-2.", strlen("libc-2.")) == 0)
        return PYE_PART_LIBC;
    return PYE_PARTS;
}

/* Numbers in a note are followed by the name and the description, each padded to four bytes. */
static bool find_build_id(const char *notes, size_t bytes, uint8_t *id)
{
    while (bytes > sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        size_t name = ((size_t)note->n_namesz + 3) & ~(size_t)3, text = ((size_t)note->n_descsz + 3) & ~(size_t)3;
        size_t whole = sizeof *note + name + text;
        if (whole > bytes)
            return false;
        const char *description = notes + sizeof *note + name;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof "GNU"
            && memcmp(notes + sizeof *note, "GNU", sizeof "GNU") == 0 && note->n_descsz <= PYE_BUILD_ID_BYTES) {
            memcpy(id, description, note->n_descsz);
            return true;
        }
        notes += whole;
        bytes -= whole;
    }
    return false;
}

static const void *at(uint64_t address)
{
    return (const void *)address; /* NOLINT(performance-no-int-to-ptr): the kernel's and the loader's numbers */
}

static int look_at(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    int part = part_of(object->dlpi_name);
    (void)size;
    for (int i = 0; part != PYE_PARTS && i < object->dlpi_phnum && !search->found[part]; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE)
            search->found[part] = find_build_id(at(object->dlpi_addr + segment->p_vaddr), segment->p_memsz,
                                                search->machine->build_id[part]);
    }
    return 0;
}

/* --- the processor --- */

/* Of each register the bits that programs look at: what only kernels and hypervisors use may differ; and those of them that
 * processors of a level have. RDRAND, AES and PCLMULQDQ are not in the definition of v3, but in all processors of it. */
static const struct {
    uint32_t leaf, subleaf;
    int word;
    uint32_t bits, v3, v2;
} features[] = {
    [PYE_CPU_1_ECX] = {0x1, 0, PYE_ECX, 0x7ed83203, 0x7ed83203, 0x00982201},
    [PYE_CPU_1_EDX] = {0x1, 0, PYE_EDX, 0x07888111, 0x07888111, 0x07888111},
    [PYE_CPU_7_EBX] = {0x7, 0, PYE_EBX, 0xfdaf0b39, 0x00000128, 0},
    [PYE_CPU_7_ECX] = {0x7, 0, PYE_ECX, 0x1a405f62, 0, 0},
    {0x7, 0, PYE_EDX, 0x03c0413c, 0, 0},
    {0x7, 1, PYE_EAX, 0x00600ff7, 0, 0},
    {0xd, 1, PYE_EAX, 0x00000007, 0, 0},
    {0x80000001, 0, PYE_ECX, 0x00210961, 0x00000021, 0x00000001},
    {0x80000001, 0, PYE_EDX, 0xe8000800, 0x28000800, 0x28000800},
};

enum { FEATURES = sizeof features / sizeof *features, OSXSAVE = 1 << 27, UP_TO_AVX = 7 /* in XCR0 */ };

_Static_assert(FEATURES + 1 <= PYE_CPU_WORDS, "the last is for the registers that the kernel saves");

static uint32_t saved_registers(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void find_cpu(uint32_t cpu[PYE_CPU_WORDS])
{
    uint32_t words[PYE_CPUID_WORDS];
    for (size_t i = 0; i < FEATURES; i++) {
        pye_cpuid(features[i].leaf, features[i].subleaf, words);
        cpu[i] = words[features[i].word] & features[i].bits;
    }
    if (cpu[0] & OSXSAVE)
        cpu[FEATURES] = saved_registers();
}

void pye_machine_limit(struct pye_machine *machine, enum pye_level level)
{
    if (level == PYE_LEVEL_NATIVE)
        return;
    for (size_t i = 0; i < FEATURES; i++)
        machine->cpu[i] &= level == PYE_LEVEL_V3 ? features[i].v3 : features[i].v2;
    machine->cpu[FEATURES] &= level == PYE_LEVEL_V3 ? UP_TO_AVX : 0;
}

bool pye_machine_find(struct pye_machine *machine, const char **what)
{
    struct search search = {.machine = machine};
    memset(machine, 0, sizeof *machine);
    machine->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(look_at, &search);
    for (int i = 0; i < PYE_PARTS; i++) {
        if (!search.found[i]) {
            *what = part_names[i];
            return false;
        }
    }
    find_cpu(machine->cpu);
    return true;
}

const char *pye_machine_differs(const struct pye_machine *then, const struct pye_machine *now)
{
    static const char *const reasons[] = {
        [PYE_PART_PYENTRY] = "it was taken by another build of pyentry",
        [PYE_PART_LOADER] = "it was taken with another dynamic loader",
        [PYE_PART_LIBC] = "it was taken with another C library",
    };
    for (int i = 0; i < PYE_PARTS; i++) {
        if (memcmp(then->build_id[i], now->build_id[i], PYE_BUILD_ID_BYTES) != 0)
            return reasons[i];
    }
    if (then->page_bytes != now->page_bytes)
        return "it was taken with memory pages of another size";
    for (int i = 0; i < PYE_CPU_WORDS; i++) {
        if ((then->cpu[i] & now->cpu[i]) != then->cpu[i])
            return "it was taken on a processor with features that this one lacks: take it with --cpu=v3, or v2";
    }
    return NULL;
}

/* --- where things are --- */

/* The range of the segments with these flags, and how far they lie from where they were linked to. */
static uint64_t find_segments(uint32_t flags, uint64_t *start, uint64_t *end)
{
    const ElfW(Phdr) *segments = at(getauxval(AT_PHDR));
    size_t count = getauxval(AT_PHNUM);
    uint64_t bias = 0;
    *start = UINT64_MAX;
    *end = 0;
    for (size_t i = 0; i < count; i++) {
        const ElfW(Phdr) *segment = &segments[i];
        if (segment->p_type == PT_PHDR)
            bias = (uint64_t)segments - segment->p_vaddr;
        if (segment->p_type != PT_LOAD || (segment->p_flags & flags) != flags)
            continue;
        if (segment->p_vaddr < *start)
            *start = segment->p_vaddr;
        if (segment->p_vaddr + segment->p_memsz > *end)
            *end = segment->p_vaddr + segment->p_memsz;
    }
    *start = PYE_PAGE_DOWN(*start + bias);
    *end = PYE_PAGE_UP(*end + bias);
    return bias;
}

void pye_machine_program(uint64_t *start, uint64_t *end)
{
    if (find_segments(PF_W, start, end) != 0)
        *start = *end = 0;
}

uint64_t pye_machine_code(uint64_t *start, uint64_t *end)
{
    return find_segments(0, start, end);
}

void *pye_machine_loader_data(size_t *bytes)
{
    void *data = dlvsym(RTLD_DEFAULT, "_rtld_global_ro", "GLIBC_PRIVATE");
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;
    if (data == NULL || dladdr1(data, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0 || symbol == NULL)
        return NULL;
    *bytes = symbol->st_size;
    return data;
}

size_t pye_machine_clocks(struct pye_clock clocks[PYE_CLOCKS])
{
    enum { VDSO_BYTES = 2 * PYE_IMAGE_PAGE };
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    size_t bytes = 0, count = 0;
    const uint64_t *words = pye_machine_loader_data(&bytes);
    for (size_t i = 0; vdso != 0 && words != NULL && i < bytes / sizeof *words && count < PYE_CLOCKS; i++) {
        /* The vdso's own beginning stands there, too, and is no function. */
        if (words[i] > vdso && words[i] < vdso + VDSO_BYTES)
            clocks[count++] = (struct pye_clock){.offset = i * sizeof *words, .value = words[i]};
    }
    return count;
}

#endif
