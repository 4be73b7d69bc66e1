/* The headers of an ELF file, and its segments mapped as loaders do it. */
#ifndef PYE_SEGMENTS_H
#define PYE_SEGMENTS_H

#include "launcher/remap.h"

#include <link.h>
#include <stdbool.h>

enum { PYE_SEGMENT_STEPS = 3 };

/* The file's pages, zeros to the end of the last, and zero pages: what of them there is. Returns how many steps. */
size_t pye_segment_plan(struct pye_step steps[PYE_SEGMENT_STEPS], const ElfW(Phdr) *segment, uint64_t base, int fd);

/* Maps those that are to be loaded, of so many headers. 0, or an error number. */
int pye_segments_map(const ElfW(Phdr) *headers, size_t count, uint64_t base, int fd);

/* The pages that those take which are loaded with all of these flags, as they were linked. */
void pye_segments_range(const ElfW(Phdr) *headers, size_t count, uint32_t flags, uint64_t *start, uint64_t *end);

bool pye_is_elf(const ElfW(Ehdr) *header);

/* The headers of the file that begins with these bytes, where they lie in them; NULL. */
const ElfW(Phdr) *pye_headers_in(const void *bytes, size_t size, size_t *count);

#endif
