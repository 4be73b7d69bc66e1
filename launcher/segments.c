#include "launcher/segments.h"

#include "launcher/bare.h"
#include "launcher/image.h"

#if PYE_SNAPSHOTS

static int protection_of(const ElfW(Phdr) *segment)
{
    return (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0)
           | (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

size_t pye_segment_plan(struct pye_step steps[PYE_SEGMENT_STEPS], const ElfW(Phdr) *segment, uint64_t base, int fd)
{
    uint64_t start = base + segment->p_vaddr, file_end = start + segment->p_filesz, end = start + segment->p_memsz;
    size_t count = 0;
    steps[count++] = (struct pye_step){.kind = PYE_STEP_MAP, .protection = protection_of(segment), .fd = fd,
                                       .flags = MAP_PRIVATE | MAP_FIXED, .start = PYE_PAGE_DOWN(start),
                                       .bytes = PYE_PAGE_UP(file_end) - PYE_PAGE_DOWN(start),
                                       .offset = PYE_PAGE_DOWN(segment->p_offset)};
    if (end > file_end && PYE_PAGE_UP(file_end) > file_end)
        steps[count++] = (struct pye_step){.kind = PYE_STEP_WIPE, .start = file_end,
                                           .bytes = PYE_PAGE_UP(file_end) - file_end};
    if (PYE_PAGE_UP(end) > PYE_PAGE_UP(file_end))
        steps[count++] = (struct pye_step){.kind = PYE_STEP_MAP, .protection = protection_of(segment), .fd = -1,
                                           .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                                           .start = PYE_PAGE_UP(file_end),
                                           .bytes = PYE_PAGE_UP(end) - PYE_PAGE_UP(file_end)};
    return count;
}

int pye_segments_map(const ElfW(Phdr) *headers, size_t count, uint64_t base, int fd)
{
    struct pye_step steps[PYE_SEGMENT_STEPS];
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        size_t planned = headers[i].p_type == PT_LOAD ? pye_segment_plan(steps, &headers[i], base, fd) : 0;
        for (size_t step = 0; step < planned && error == 0; step++)
            error = pye_step(&steps[step]);
    }
    return error;
}

void pye_segments_range(const ElfW(Phdr) *headers, size_t count, uint32_t flags, uint64_t *start, uint64_t *end)
{
    *start = UINT64_MAX;
    *end = 0;
    for (const ElfW(Phdr) *segment = headers; segment < headers + count; segment++) {
        if (segment->p_type != PT_LOAD || (segment->p_flags & flags) != flags)
            continue;
        if (segment->p_vaddr < *start)
            *start = segment->p_vaddr;
        if (segment->p_vaddr + segment->p_memsz > *end)
            *end = segment->p_vaddr + segment->p_memsz;
    }
    *start = PYE_PAGE_DOWN(*start);
    *end = PYE_PAGE_UP(*end);
}

bool pye_is_elf(const ElfW(Ehdr) *header)
{
    return header->e_ident[EI_MAG0] == ELFMAG0 && header->e_ident[EI_MAG1] == ELFMAG1
           && header->e_ident[EI_MAG2] == ELFMAG2 && header->e_ident[EI_MAG3] == ELFMAG3;
}

const ElfW(Phdr) *pye_headers_in(const void *bytes, size_t size, size_t *count)
{
    const ElfW(Ehdr) *header = bytes;
    if (size < sizeof *header || !pye_is_elf(header) || header->e_phentsize != sizeof(ElfW(Phdr))
        || header->e_phoff > size || header->e_phnum > (size - header->e_phoff) / sizeof(ElfW(Phdr)))
        return NULL;
    *count = header->e_phnum;
    return (const void *)((const char *)bytes + header->e_phoff);
}

#endif
