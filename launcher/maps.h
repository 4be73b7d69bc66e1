/* The memory of this process, as /proc/self/maps lists it, without an allocation. */
#ifndef PYE_MAPS_H
#define PYE_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PYE_MAPS_BYTES = 128 * 1024 }; /* room for a thousand lines, ten times what a pyentry has before Python */

struct pye_map {
    uint64_t start, end;
    int protection; /* PROT_ bits */
    bool shared;
    uint64_t inode;   /* 0: of no file */
    const char *name; /* "" where it has none */
};

/* Reads the whole text into room and ends it. The length; -1 with errno, EFBIG where room is too small. */
ssize_t pye_maps_read(char *room, size_t size);

/* Takes the next line from *text, which it changes. False at the end, or where the line is none. */
bool pye_maps_next(char **text, struct pye_map *map);

/* What stays of this process when its memory is exchanged, in the order of addresses. What the kernel made stays
 * always: the stack, and the vdso. */
enum { PYE_KEPT = 24 };
#define PYE_MEMORY_END 0x7ffffffff000

struct pye_kept {
    struct {
        uint64_t start, end;
    } ranges[PYE_KEPT];
    size_t count;
};

void pye_keep(struct pye_kept *kept, uint64_t start, uint64_t end);

/* Whether the kernel made it. */
bool pye_is_kernels(const struct pye_map *map);

/* The range behind the kept range of this index and those before it, up to the next one. False where it is empty. */
bool pye_gap_behind(const struct pye_kept *kept, size_t index, uint64_t *start, uint64_t *end);

#endif
