/* The memory of this process, written to a file: launcher/image.h. */
#ifndef PYE_SNAPSHOT_MEMORY_H
#define PYE_SNAPSHOT_MEMORY_H

#include "embed/embed.h"

/* Writes everything from the stack pointer on. In a forked child, where nothing else runs: no memory is allocated,
 * since what is being written must not change. words come behind those of taking. False, with a line printed. */
bool pye_memory_write(const struct pye_taking *taking, uint64_t stack_pointer, const char *words, size_t words_bytes);

#endif
