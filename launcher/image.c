#include "launcher/image.h"

#include "launcher/bare.h"
#include "launcher/crc32.h"

#include <sys/mman.h>

enum { ALL_PROTECTIONS = PROT_READ | PROT_WRITE | PROT_EXEC };

_Static_assert(offsetof(struct pye_image_header, header_checksum) + sizeof(uint32_t) == sizeof(struct pye_image_header),
               "no padding: every byte of the header is behind a checksum");

/* --- checksums --- */

static uint32_t header_checksum(const struct pye_image_header *header)
{
    return pye_crc32(header, offsetof(struct pye_image_header, header_checksum));
}

size_t pye_image_tables_bytes(const struct pye_image_header *header)
{
    return header->areas * sizeof(struct pye_image_area) + header->runs * sizeof(struct pye_image_run)
           + header->touched * sizeof(struct pye_image_range) + header->words_bytes;
}

void pye_image_seal(struct pye_image_header *header, const void *tables)
{
    header->tables_checksum = pye_crc32(tables, pye_image_tables_bytes(header));
    header->header_checksum = header_checksum(header);
}

const char *pye_image_check_file(const struct stat *file, uid_t user)
{
    if (!S_ISREG(file->st_mode))
        return "it is no regular file";
    if (file->st_uid != 0 && file->st_uid != user)
        return "it belongs to another user";
    if (file->st_mode & (S_IWGRP | S_IWOTH))
        return "others than its owner may write to it";
    return NULL;
}

/* --- the header --- */

static bool is_page(uint64_t number)
{
    return number % PYE_IMAGE_PAGE == 0;
}

static bool is_range(uint64_t start, uint64_t end)
{
    return start < end && is_page(start) && is_page(end);
}

static bool has_magic(const struct pye_image_header *header)
{
    static const char magic[] = PYE_IMAGE_MAGIC;
    size_t same = 0;
    while (same < sizeof header->magic && header->magic[same] == (uint8_t)magic[same])
        same++;
    return same == sizeof header->magic;
}

const char *pye_image_check_header(const struct pye_image_header *header, uint64_t file_bytes)
{
    if (!has_magic(header))
        return "it is no snapshot";
    if (header->version != PYE_IMAGE_VERSION || header->header_bytes != sizeof *header)
        return "it is of another version of pyentry";
    if (header->header_checksum != header_checksum(header))
        return "it is damaged: the checksum of its header is wrong";
    if (header->file_bytes != file_bytes)
        return "it is damaged: its length is wrong";
    if (header->areas > PYE_IMAGE_AREAS || header->runs > PYE_IMAGE_RUNS || header->touched > PYE_IMAGE_TOUCHED
        || header->words_bytes > PYE_IMAGE_WORDS)
        return "it is damaged: its tables are too large";
    if (!is_page(header->data_offset) || header->data_offset > file_bytes
        || header->data_offset < sizeof *header + pye_image_tables_bytes(header))
        return "it is damaged: its pages are misplaced";
    bool movable = header->program_start == 0 && header->program_end == 0;
    if (!(movable || is_range(header->program_start, header->program_end))
        || !is_range(header->arena_start, header->arena_end) || header->program_end > header->arena_start)
        return "it is damaged: its address ranges make no sense";
    return NULL;
}

/* --- the tables --- */

static bool within(uint64_t start, uint64_t end, uint64_t low, uint64_t high)
{
    return start >= low && end <= high;
}

/* Whether this is memory that the image may claim. */
static bool is_ours(const struct pye_image_header *header, uint64_t start, uint64_t end)
{
    return is_range(start, end)
           && (within(start, end, header->program_start, header->program_end)
               || within(start, end, header->arena_start, header->arena_end));
}

static bool check_area(const struct pye_image_header *header, const struct pye_image_area *area, uint64_t low)
{
    return is_ours(header, area->start, area->end) && area->start >= low && area->kind < PYE_AREA_KINDS
           && (area->protection & ~(uint32_t)ALL_PROTECTIONS) == 0
           && (area->advice & ~(uint32_t)PYE_ADVICE_KNOWN) == 0;
}

/* The pages of an area: in order, inside of it, and in the file. */
static bool check_runs(const struct pye_image *image, const struct pye_image_area *area,
                       const struct pye_image_run *runs)
{
    const struct pye_image_header *header = &image->header;
    uint64_t low = area->start, first = header->data_offset, last = header->file_bytes;
    if (area->kind == PYE_AREA_ARCHIVE) {
        first = 0;
        last = image->base;
    }
    for (uint32_t i = 0; i < area->runs; i++) {
        const struct pye_image_run *run = &runs[i];
        if (!is_range(run->start, run->end) || !within(run->start, run->end, low, area->end)
            || !is_page(run->offset) || run->offset < first || run->offset > last
            || run->end - run->start > last - run->offset)
            return false;
        low = run->end;
    }
    return true;
}

static bool holds(const struct pye_image_area *area, uint64_t address)
{
    return address >= area->start && address < area->end;
}

/* Whether a stack holds the stack pointer, and with room above it for what stands there. */
static bool is_the_stack(const struct pye_image_header *header, const struct pye_image_area *area)
{
    return area->kind == PYE_AREA_COPIED && header->stack_pointer != area->start && holds(area, header->stack_pointer);
}

static bool check_areas(const struct pye_image *image)
{
    const struct pye_image_header *header = &image->header;
    const struct pye_image_run *run = image->runs, *last = run + header->runs;
    uint64_t low = 0;
    size_t stacks = 0, threads = 0, entries = header->program_end != 0; /* which is where a reader's own is */
    for (uint32_t i = 0; i < header->areas; i++) {
        const struct pye_image_area *area = &image->areas[i];
        if (!check_area(header, area, low) || area->runs > (size_t)(last - run) || !check_runs(image, area, run))
            return false;
        run += area->runs;
        low = area->end;
        stacks += is_the_stack(header, area);
        threads += holds(area, header->thread_pointer);
        entries += header->program_end == 0 && holds(area, header->entry) && (area->protection & PROT_EXEC);
    }
    return run == last && stacks == 1 && threads == 1 && entries == 1;
}

static bool check_touched(const struct pye_image *image)
{
    uint64_t low = 0;
    for (uint32_t i = 0; i < image->header.touched; i++) {
        const struct pye_image_range *range = &image->touched[i];
        if (range->start < low || !is_ours(&image->header, range->start, range->end))
            return false;
        low = range->end;
    }
    return true;
}

/* Each word has its four parts. */
static bool check_words(const char *words, size_t length)
{
    size_t ends = 0;
    if (length > 0 && words[length - 1] != '\0')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (ends % 4 == 0 && (words[i] == '\0' || i + 1 == length || words[i + 1] != '\0'))
            return false;
        while (words[i] != '\0')
            i++;
        ends++;
    }
    return ends % 4 == 0;
}

const char *pye_image_check_tables(struct pye_image *image, const void *tables)
{
    const struct pye_image_header *header = &image->header;
    image->areas = tables;
    image->runs = (const void *)(image->areas + header->areas);
    image->touched = (const void *)(image->runs + header->runs);
    image->words = (const char *)(image->touched + header->touched);
    if (pye_crc32(tables, pye_image_tables_bytes(header)) != header->tables_checksum)
        return "it is damaged: the checksum of its tables is wrong";
    if (!check_areas(image) || !check_touched(image))
        return "it is damaged: its table of memory makes no sense";
    if (!check_words(image->words, header->words_bytes))
        return "it is damaged: its table of words makes no sense";
    return NULL;
}
