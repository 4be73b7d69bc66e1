#include "embed/snapshot/heap.h"

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What Python's own allocator serves; all else comes from the C library. */
enum { SMALLEST = 16, LARGEST = 512 };

static struct {
    PyObjectArenaAllocator theirs;
    uintptr_t start, end;
} arena; /* the last that was asked for */

/* Where there is no memory any block will do: the end is not to be waited for. */
static void *note_arena(void *context, size_t bytes)
{
    void *memory = arena.theirs.alloc(context, bytes);
    arena.start = (uintptr_t)memory;
    arena.end = memory == NULL ? UINTPTR_MAX : arena.start + bytes;
    return memory;
}

/* Exported by 3.9 and all since; not every version's headers have it. */
extern const char *_PyMem_GetCurrentAllocatorName(void); /* NOLINT(bugprone-reserved-identifier,readability-redundant-declaration) */

/* PYTHONMALLOC and -X dev may have chosen another allocator, or have it asked for more than it serves. */
static bool is_pythons(void)
{
    const char *name = _PyMem_GetCurrentAllocatorName();
    return name != NULL && strcmp(name, "pymalloc") == 0;
}

void pye_heap_fill(void)
{
    if (!is_pythons())
        return;
    PyObject_GetArenaAllocator(&arena.theirs);
    PyObjectArenaAllocator noting = {arena.theirs.ctx, note_arena, arena.theirs.free};
    PyObject_SetArenaAllocator(&noting);
    /* The largest first: it is the one that comes to the end of all arenas, and the others fill their own gaps. */
    for (size_t size = LARGEST; size >= SMALLEST; size -= SMALLEST) {
        uintptr_t block;
        do
            block = (uintptr_t)PyObject_Malloc(size);
        while (block != 0 && (block < arena.start || block >= arena.end));
    }
    PyObject_SetArenaAllocator(&arena.theirs);
}
