/* A segment of an ELF file, mapped as loaders do it. */
#ifndef PYE_SEGMENTS_H
#define PYE_SEGMENTS_H

#include "launcher/remap.h"

#include <link.h>

enum { PYE_SEGMENT_STEPS = 3 };

/* The file's pages, zeros to the end of the last, and zero pages: what of them there is. Returns how many steps. */
size_t pye_segment_plan(struct pye_step steps[PYE_SEGMENT_STEPS], const ElfW(Phdr) *segment, uint64_t base, int fd);

#endif
