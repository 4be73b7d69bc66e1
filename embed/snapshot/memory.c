#include "embed/snapshot/memory.h"

#include "embed/bundle/bundle.h"
#include "launcher/log.h"
#include "launcher/maps.h"

#if PYE_SNAPSHOTS

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Zero pages between two others that are written rather than begin a new run: each run is a system call at each
 * start. */
#define SHORT_GAP (8 * (uint64_t)PYE_IMAGE_PAGE)

enum { PAGES_AT_ONCE = 4096, PRESENT_BITS = 62, SMAPS_BYTES = 32 * 1024 * 1024 };

/* Lies outside of what is written. */
struct writer {
    struct pye_image_header header;
    struct pye_image_area areas[PYE_IMAGE_AREAS];
    struct pye_image_run runs[PYE_IMAGE_RUNS];
    char words[PYE_IMAGE_WORDS];
    uint64_t pages[PAGES_AT_ONCE];
    char maps[SMAPS_BYTES];
    const struct pye_taking *taking;
    uint64_t stack_page;
    struct {
        uint64_t start, end, offset;
    } archive; /* of a bundle, and where it lies in the executable; 0 */
    int pagemap, file;
};

static bool fail(const char *what)
{
    pye_log("the snapshot was not taken: %s: %s", what, strerror(errno));
    return false;
}

static struct writer *make_writer(const struct pye_taking *taking)
{
    /* Behind the arena, where nothing of the image is; the fence is there. */
    void *place = (void *)(taking->arena_end + PYE_IMAGE_PAGE); /* NOLINT(performance-no-int-to-ptr): the arena's */
    void *memory = mmap(place, sizeof(struct writer), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (memory != MAP_FAILED)
        return memory;
    fail("memory");
    return NULL;
}

/* --- runs --- */

static bool add_run(struct writer *writer, uint64_t start, uint64_t end)
{
    if (writer->header.runs == PYE_IMAGE_RUNS) {
        errno = E2BIG;
        return fail("the table of pages");
    }
    writer->runs[writer->header.runs++] = (struct pye_image_run){.start = start, .end = end};
    writer->areas[writer->header.areas].runs++;
    return true;
}

static bool is_zero(uint64_t address)
{
    const uint64_t *words = (const void *)address; /* NOLINT(performance-no-int-to-ptr): a page of ours */
    for (size_t i = 0; i < PYE_IMAGE_PAGE / sizeof *words; i++) {
        if (words[i] != 0)
            return false;
    }
    return true;
}

/* How many bytes the C library has mapped for the block that this page begins with, as it seems; 0: none. */
static uint64_t mapped_block(uint64_t page)
{
    enum { MAPPED = 2 }; /* the flag beside the size, which is whole pages */
    const uint64_t *words = (const void *)page; /* NOLINT(performance-no-int-to-ptr): a page of ours */
    return words[0] == 0 && words[1] % PYE_IMAGE_PAGE == MAPPED ? words[1] - MAPPED : 0;
}

/* Ends the area that is being described with a page of its own that is copied, and begins another behind it. */
static bool cut(struct writer *writer, uint64_t page)
{
    struct pye_image_area *area = &writer->areas[writer->header.areas], whole = *area;
    if (writer->header.areas + 2 >= PYE_IMAGE_AREAS) {
        errno = E2BIG;
        return fail("the table of memory");
    }
    if (page > area->start) {
        area->end = page;
        area = &writer->areas[++writer->header.areas];
    }
    *area = (struct pye_image_area){.start = page, .end = page + PYE_IMAGE_PAGE, .kind = PYE_AREA_COPIED,
                                    .protection = whole.protection};
    if (!add_run(writer, area->start, area->end))
        return false;
    area = &writer->areas[++writer->header.areas];
    *area = (struct pye_image_area){.start = page + PYE_IMAGE_PAGE, .end = whole.end, .protection = whole.protection};
    return true;
}

/* The run so far, if there is one. */
static bool end_run(struct writer *writer, struct pye_image_run *run)
{
    bool well = run->end == 0 || add_run(writer, run->start, run->end);
    run->end = 0;
    return well;
}

/* A block that the C library has mapped by itself grows by mremap(2), which gives a mapping of a file what follows in the
 * file. The kernel refuses that for two mappings, and the library copies the block: so its first page, which is the last to
 * stay when it shrinks, is another mapping, and of no file. */
static bool add_page(struct writer *writer, struct pye_image_run *run, uint64_t page)
{
    const struct pye_image_area *area = &writer->areas[writer->header.areas];
    uint64_t bytes = area->protection & PROT_WRITE ? mapped_block(page) : 0;
    if (bytes > PYE_IMAGE_PAGE && bytes <= area->end - page)
        return end_run(writer, run) && cut(writer, page);
    if (run->end != 0 && page - run->end >= SHORT_GAP && !end_run(writer, run))
        return false;
    if (run->end == 0)
        run->start = page;
    run->end = page + PYE_IMAGE_PAGE;
    return true;
}

/* The pages of an anonymous area that hold something. */
static bool add_touched(struct writer *writer, uint64_t start, uint64_t end)
{
    struct pye_image_run run = {.end = 0};
    for (uint64_t address = start; address < end;) {
        uint64_t left = (end - address) / PYE_IMAGE_PAGE, count = left < PAGES_AT_ONCE ? left : PAGES_AT_ONCE;
        ssize_t bytes = (ssize_t)(count * sizeof *writer->pages);
        if (pread(writer->pagemap, writer->pages, (size_t)bytes,
                  (off_t)(address / PYE_IMAGE_PAGE * sizeof *writer->pages)) != bytes)
            return fail("/proc/self/pagemap");
        for (uint64_t i = 0; i < count; i++, address += PYE_IMAGE_PAGE) {
            bool holds = writer->pages[i] >> PRESENT_BITS != 0 && !is_zero(address);
            if (holds && !add_page(writer, &run, address))
                return false;
        }
    }
    return end_run(writer, &run);
}

/* --- areas --- */

static bool is_anonymous_sharing(const struct pye_map *map)
{
    return map->inode == 0 || strncmp(map->name, "/dev/zero", strlen("/dev/zero")) == 0
           || (strncmp(map->name, "/dev/shm/", strlen("/dev/shm/")) == 0 && strstr(map->name, " (deleted)") != NULL);
}

/* What nobody may read now holds what it held: in this copy of the process it may be read. */
static bool open_area(const struct pye_image_area *area)
{
    void *memory = (void *)area->start; /* NOLINT(performance-no-int-to-ptr): memory of ours */
    return (area->protection & PROT_READ) || mprotect(memory, area->end - area->start, PROT_READ) == 0
           || fail("memory that may not be read");
}

static bool add_pages(struct writer *writer, const struct pye_map *map, const struct pye_image_area *area)
{
    if (area->kind == PYE_AREA_COPIED)
        return add_run(writer, writer->stack_page, area->end);
    if (map->inode != 0 && map->protection == PROT_NONE) /* what the loader leaves between parts of a library */
        return true;
    if (!open_area(area))
        return false;
    if (map->inode != 0 || map->shared)
        return add_run(writer, area->start, area->end);
    return add_touched(writer, area->start, area->end);
}

static bool add_area(struct writer *writer, const struct pye_map *map, uint64_t start, uint64_t end)
{
    struct pye_image_area *area = &writer->areas[writer->header.areas];
    if (writer->header.areas == PYE_IMAGE_AREAS) {
        errno = E2BIG;
        return fail("the table of memory");
    }
    *area = (struct pye_image_area){.start = start, .end = end, .protection = (uint32_t)map->protection};
    if (map->shared && is_anonymous_sharing(map) && map->protection == (PROT_READ | PROT_WRITE)) {
        area->kind = PYE_AREA_SHARED;
    } else if (map->shared && (map->protection & PROT_WRITE)) {
        pye_log("the snapshot was not taken: %s is mapped to be written to and shared; map it after the start",
                map->name);
        return false;
    }
    if (writer->stack_page >= start && writer->stack_page < end)
        area->kind = PYE_AREA_COPIED;
    if (start == writer->archive.start && end == writer->archive.end)
        area->kind = PYE_AREA_ARCHIVE;
    if (!add_pages(writer, map, area))
        return false;
    writer->header.areas++;
    return true;
}

static bool add_part(struct writer *writer, const struct pye_map *map, uint64_t low, uint64_t high)
{
    uint64_t start = map->start > low ? map->start : low, end = map->end < high ? map->end : high;
    return start >= end || add_area(writer, map, start, end);
}

static bool find_areas(struct writer *writer)
{
    const struct pye_taking *taking = writer->taking;
    struct pye_map map;
    char *text = writer->maps;
    if (pye_maps_read(text, sizeof writer->maps) < 0)
        return fail("/proc/self/maps");
    while (pye_maps_next(&text, &map)) {
        if (!add_part(writer, &map, writer->header.program_start, writer->header.program_end)
            || !add_part(writer, &map, taking->arena_start, taking->arena_end)
            || !add_part(writer, &map, taking->stack_start, taking->stack_end))
            return false;
    }
    return true;
}

/* --- advice --- */

static void advise(struct writer *writer, const struct pye_map *map, const char *flags)
{
    uint32_t advice = (strstr(flags, " wf") != NULL ? PYE_ADVICE_WIPE_ON_FORK : 0)
                      | (strstr(flags, " dd") != NULL ? PYE_ADVICE_DONT_DUMP : 0);
    for (uint32_t i = 0; advice != 0 && i < writer->header.areas; i++) {
        struct pye_image_area *area = &writer->areas[i];
        if (area->kind <= PYE_AREA_COPIED && area->start >= map->start && area->end <= map->end)
            area->advice = advice;
    }
}

/* What a library asked madvise(2) for. Best effort: the kernel may not tell. */
static void find_advice(struct writer *writer)
{
    static const char key[] = "VmFlags:";
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got = 0;
    while (fd >= 0 && length + 1 < sizeof writer->maps
           && (got = read(fd, writer->maps + length, sizeof writer->maps - 1 - length)) > 0)
        length += (size_t)got;
    if (fd >= 0)
        close(fd);
    writer->maps[length] = '\0';
    struct pye_map map = {.start = 0}, next;
    for (char *line = writer->maps, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char *at = line;
        if (strncmp(line, key, sizeof key - 1) == 0) {
            *end = '\0';
            advise(writer, &map, line + sizeof key - 1);
        } else if (pye_maps_next(&at, &next)) {
            map = next;
        }
    }
}

/* --- fewer of them --- */

static bool continues(const struct pye_image_area *one, const struct pye_image_area *next)
{
    return one->end == next->start && one->kind == PYE_AREA_PRIVATE && next->kind == PYE_AREA_PRIVATE
           && one->protection == next->protection && one->advice == next->advice;
}

static void join_runs(struct writer *writer, struct pye_image_area *area, const struct pye_image_run *runs,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct pye_image_run run = runs[i], *last = &writer->runs[writer->header.runs - 1];
        if (area->runs > 0 && last->end == run.start) {
            last->end = run.end;
        } else {
            writer->runs[writer->header.runs++] = run;
            area->runs++;
        }
    }
}

/* What the kernel keeps apart, since it came from files and from nowhere, need not be apart any more: each area and each
 * run is a system call at each start. */
static void join_areas(struct writer *writer)
{
    const struct pye_image_run *runs = writer->runs;
    uint32_t count = writer->header.areas;
    writer->header.areas = writer->header.runs = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct pye_image_area area = writer->areas[i], *last = &writer->areas[writer->header.areas - 1];
        uint32_t own = area.runs;
        if (writer->header.areas > 0 && continues(last, &area)) {
            last->end = area.end;
        } else {
            last = &writer->areas[writer->header.areas++];
            *last = area;
            last->runs = 0;
        }
        join_runs(writer, last, runs, own);
        runs += own;
    }
}

/* --- the file --- */

static bool put(struct writer *writer, const void *data, uint64_t bytes, uint64_t offset)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t done = pwrite(writer->file, from, bytes, (off_t)(writer->taking->base + offset));
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(done < 0 && errno == EFAULT ? "a file that is mapped has become shorter" : "writing");
        from += done;
        offset += (uint64_t)done;
        bytes -= (uint64_t)done;
    }
    return true;
}

static bool put_run(struct writer *writer, const struct pye_image_run *run)
{
    const void *pages = (const void *)run->start; /* NOLINT(performance-no-int-to-ptr): pages of ours */
    return put(writer, pages, run->end - run->start, run->offset);
}

/* Each area's, one behind the other; an archive's are in the bundle. */
static bool put_pages(struct writer *writer)
{
    struct pye_image_header *header = &writer->header;
    struct pye_image_run *run = writer->runs;
    /* With room for the table that the first start fills. */
    uint64_t offset = PYE_PAGE_UP(sizeof *header + pye_image_tables_bytes(header)
                                  + PYE_IMAGE_TOUCHED * sizeof(struct pye_image_range));
    header->data_offset = offset;
    for (uint32_t i = 0; i < header->areas; i++) {
        bool elsewhere = writer->areas[i].kind == PYE_AREA_ARCHIVE;
        for (uint32_t left = writer->areas[i].runs; left > 0; left--, run++) {
            run->offset = elsewhere ? writer->archive.offset : offset;
            if (!elsewhere && !put_run(writer, run))
                return false;
            offset += elsewhere ? 0 : run->end - run->start;
        }
    }
    header->file_bytes = offset;
    return true;
}

static bool put_tables(struct writer *writer)
{
    struct pye_image_header *header = &writer->header;
    size_t areas = header->areas * sizeof *writer->areas, runs = header->runs * sizeof *writer->runs;
    char *tables = writer->maps; /* nobody reads those any more */
    memcpy(tables, writer->areas, areas);
    memcpy(tables + areas, writer->runs, runs);
    memcpy(tables + areas + runs, writer->words, header->words_bytes);
    pye_image_seal(header, tables);
    return put(writer, tables, areas + runs + header->words_bytes, sizeof *header)
           && put(writer, header, sizeof *header, 0);
}

static bool begin_header(struct writer *writer, uint64_t stack_pointer)
{
    const struct pye_taking *taking = writer->taking;
    struct pye_image_header *header = &writer->header;
    const char *what;
    memcpy(header->magic, PYE_IMAGE_MAGIC, sizeof header->magic);
    header->version = PYE_IMAGE_VERSION;
    header->header_bytes = sizeof *header;
    header->arena_start = taking->arena_start;
    header->arena_end = taking->stack_end;
    header->thread_pointer = (uint64_t)__builtin_thread_pointer();
    header->stack_pointer = stack_pointer;
    writer->stack_page = PYE_PAGE_DOWN(stack_pointer);
    header->entry = (uint64_t)pye_resume;
    pye_machine_program(&header->program_start, &header->program_end);
    errno = ENOEXEC;
    if (!pye_machine_find(&header->machine, &what))
        return fail("pyentry itself");
    pye_processor_limit(header->machine.cpu, taking->level);
    return true;
}

static bool take_words(struct writer *writer, const char *words, size_t bytes)
{
    const struct pye_taking *taking = writer->taking;
    if (taking->words_bytes + bytes > sizeof writer->words) {
        errno = E2BIG;
        return fail("the environment");
    }
    memcpy(writer->words, taking->words, taking->words_bytes);
    memcpy(writer->words + taking->words_bytes, words, bytes);
    writer->header.words_bytes = (uint32_t)(taking->words_bytes + bytes);
    return true;
}

bool pye_memory_write(const struct pye_taking *taking, uint64_t stack_pointer, const char *words, size_t words_bytes)
{
    struct writer *writer = make_writer(taking);
    if (writer == NULL)
        return false;
    writer->taking = taking;
    writer->file = taking->file;
    if (!pye_bundle_settle(&writer->archive.start, &writer->archive.end, &writer->archive.offset))
        return fail("the archive's index");
    writer->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (writer->pagemap < 0)
        return fail("/proc/self/pagemap");
    if (!begin_header(writer, stack_pointer) || !take_words(writer, words, words_bytes) || !find_areas(writer))
        return false;
    find_advice(writer);
    join_areas(writer);
    return put_pages(writer) && put_tables(writer);
}

#endif
