#include "launcher/machine.h"

#include "launcher/cpuid.h"
#include "launcher/notes.h"
#include "launcher/segments.h"
#include "launcher/vdso.h"

#if PYE_SNAPSHOTS

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#include <sys/syscall.h>
#endif

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

static const void *at(uint64_t address)
{
    return (const void *)address; /* NOLINT(performance-no-int-to-ptr): the kernel's and the loader's numbers */
}

static int look_at(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    int part = part_of(object->dlpi_name);
    (void)size;
    if (part != PYE_PARTS && !search->found[part])
        search->found[part] = pye_build_id_of(object->dlpi_phdr, object->dlpi_phnum, object->dlpi_addr,
                                              search->machine->build_id[part]);
    return 0;
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
    pye_processor_find(machine->cpu, pye_cpuid);
    return true;
}

/* The build id in the file, whose first page has the notes. */
static bool read_build_id(const char *path, uint8_t id[PYE_BUILD_ID_BYTES])
{
    char page[PYE_IMAGE_PAGE];
    size_t count = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, page, sizeof page, 0);
    if (fd >= 0)
        close(fd);
    const ElfW(Phdr) *segment = got == sizeof page ? pye_headers_in(page, sizeof page, &count) : NULL;
    for (; count > 0; count--, segment++) {
        if (segment->p_type == PT_NOTE && segment->p_offset < sizeof page
            && segment->p_filesz <= sizeof page - segment->p_offset
            && pye_build_id_find(page + segment->p_offset, segment->p_filesz, id))
            return true;
    }
    return false;
}

static int look_at_file(struct dl_phdr_info *object, size_t size, void *data)
{
    struct search *search = data;
    int part = part_of(object->dlpi_name);
    (void)size;
    if (part == PYE_PART_LOADER || part == PYE_PART_LIBC)
        search->found[part] = read_build_id(object->dlpi_name, search->machine->build_id[part]);
    return search->found[PYE_PART_LOADER] && search->found[PYE_PART_LIBC];
}

bool pye_machine_on_disk(const struct pye_machine *machine)
{
    struct pye_machine now = {.page_bytes = 0};
    struct search search = {.machine = &now};
    dl_iterate_phdr(look_at_file, &search);
    for (int part = PYE_PART_LOADER; part <= PYE_PART_LIBC; part++) {
        if (!search.found[part] || memcmp(now.build_id[part], machine->build_id[part], PYE_BUILD_ID_BYTES) != 0)
            return false;
    }
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
    if (!pye_processor_has(now->cpu, then->cpu))
        return "it was taken on a processor with features that this one lacks: take it with --cpu=v3, or v2";
    return NULL;
}

/* --- where things are --- */

/* The range of the segments with these flags, and how far they lie from where they were linked to. */
static uint64_t find_segments(uint32_t flags, uint64_t *start, uint64_t *end)
{
    const ElfW(Phdr) *segments = at(getauxval(AT_PHDR));
    size_t count = getauxval(AT_PHNUM);
    uint64_t bias = 0;
    for (size_t i = 0; i < count; i++) {
        if (segments[i].p_type == PT_PHDR)
            bias = (uint64_t)segments - segments[i].p_vaddr;
    }
    pye_segments_range(segments, count, flags, start, end);
    *start += bias;
    *end += bias;
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

static const char *const clock_functions[] = {"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time",
                                              "__vdso_clock_getres",  "__vdso_getcpu",       "__vdso_getrandom"};

enum { CLOCK_FUNCTIONS = sizeof clock_functions / sizeof *clock_functions };

uint64_t pye_machine_clock(uint64_t vdso, uint64_t function)
{
    return function < CLOCK_FUNCTIONS ? pye_vdso_find(vdso, clock_functions[function]) : 0;
}

size_t pye_machine_clocks(struct pye_clock clocks[PYE_CLOCKS])
{
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    size_t bytes = 0, count = 0;
    const uint64_t *words = pye_machine_loader_data(&bytes);
    for (uint64_t function = 0; vdso != 0 && words != NULL && function < CLOCK_FUNCTIONS; function++) {
        uint64_t address = pye_machine_clock(vdso, function);
        for (size_t i = 0; address != 0 && i < bytes / sizeof *words && count < PYE_CLOCKS; i++) {
            if (words[i] == address)
                clocks[count++] = (struct pye_clock){.offset = i * sizeof *words, .function = function};
        }
    }
    return count;
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
