/* pyentry begun anew in an arena: one range of addresses, chosen at random, in which all of its memory comes to lie.
 *
 *     arena = pye_arena_here();          not NULL: this process is in one
 *     pye_arena_enter(argv, ...);  else: becomes such a process, with main begun again
 *
 * This is an exec without the kernel. Everything outside of the arena is fenced off, so that whatever the kernel places
 * by its own choice lands inside; there is no heap below the arena, and the C library finds no vdso, whose address
 * would be another at each start. No privilege is needed, and no personality(2). */
#ifndef PYE_ARENA_H
#define PYE_ARENA_H

#include "launcher/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pye_arena {
    uint64_t start, end;             /* libraries and memory */
    uint64_t stack_start, stack_end; /* the main thread's stack, behind it */
    int file;                        /* what the snapshot is written to */
    const char *at;                  /* where the bundle will lie that it is for; "": it is for none */
    const char *words;               /* what goes into the image as they are */
    size_t words_bytes;
    struct pye_clock clocks[PYE_CLOCKS]; /* of the process before, which has a vdso */
    size_t clocks_count;
};

const struct pye_arena *pye_arena_here(void);

/* Does not return where it succeeds. Else one line is printed, and nothing has changed. wanted holds the file and the
 * words; environment is the new program's. */
void pye_arena_enter(char **argv, char **environment, const struct pye_arena *wanted);

#endif
