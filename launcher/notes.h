/* The notes of an ELF file. */
#ifndef PYE_NOTES_H
#define PYE_NOTES_H

#include "launcher/image.h"

#include <link.h>

/* The build id, if these bytes of notes have one; what it is shorter than its room stays. */
bool pye_build_id_find(const char *notes, size_t bytes, uint8_t id[PYE_BUILD_ID_BYTES]);

/* The same of a program or library in memory, so far from where it was linked to. */
bool pye_build_id_of(const ElfW(Phdr) *headers, size_t count, uint64_t bias, uint8_t id[PYE_BUILD_ID_BYTES]);

#endif
