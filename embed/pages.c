#include <Python.h>

#include "embed/pages.h"

#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the types and whatever else is static --- */

/* Nearly every page of it is written before the first statement, be it for a count of references: one call brings them
 * all. Before Linux 5.14, each comes by itself, as without this. */
static int bring_segment(struct dl_phdr_info *object, size_t size, void *inside)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t wanted = (uintptr_t)inside - object->dlpi_addr, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = 0, end = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && wanted - header->p_vaddr < header->p_filesz) {
            begin = begin > header->p_vaddr ? begin : header->p_vaddr;
            end = header->p_vaddr + header->p_filesz;
        } else if (header->p_type == PT_GNU_RELRO) { /* read-only by now */
            begin = header->p_vaddr + header->p_memsz;
        }
    }
    begin = (begin + page - 1) & -page;
    if (end > begin)
        madvise((void *)(object->dlpi_addr + begin), /* NOLINT(performance-no-int-to-ptr) */
                end - begin, MADV_POPULATE_WRITE);
    (void)size;
    return end != 0;
#else
    (void)object, (void)size, (void)inside;
    return 1;
#endif
}

/* --- arenas --- */

/* The first arenas are as Python makes them. A program that needs more gets them out of larger pieces, made of huge pages
 * where the kernel has some: one fault where there were 512, and fewer misses of the translation buffer. */
enum { HUGE_PAGE = 2 * 1024 * 1024, PIECE = 4 * HUGE_PAGE, SMALL = 2 * 1024 * 1024, ARENA_UNIT = 256 * 1024 };

static struct {
    char *next;
    size_t left, small;
    bool busy;
} arenas;

static char *map(size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool map_piece(void)
{
    char *memory = map(PIECE + HUGE_PAGE);
    if (memory == NULL)
        return false;
    size_t before = -(uintptr_t)memory % HUGE_PAGE;
    if (before > 0)
        munmap(memory, before);
    munmap(memory + before + PIECE, HUGE_PAGE - before);
    arenas.next = memory + before;
    arenas.left = PIECE;
    madvise(arenas.next, PIECE, MADV_HUGEPAGE);
    return true;
}

static void *allocate(void *unused, size_t size)
{
    (void)unused;
    if (size % ARENA_UNIT != 0 || size > PIECE) /* a piece of a thread's stack of frames, from 3.11 on */
        return map(size);
    if (__atomic_test_and_set(&arenas.busy, __ATOMIC_ACQUIRE)) /* another interpreter, with a GIL of its own (3.12) */
        return map(size);
    char *arena = NULL;
    if (arenas.small < SMALL) {
        arenas.small += size;
    } else if (size <= arenas.left || map_piece()) {
        arena = arenas.next;
        arenas.next += size;
        arenas.left -= size;
    }
    __atomic_clear(&arenas.busy, __ATOMIC_RELEASE);
    return arena != NULL ? arena : map(size);
}

static void release(void *unused, void *arena, size_t size)
{
    (void)unused;
    munmap(arena, size);
}

void pye_pages_prepare(void)
{
    PyObjectArenaAllocator allocator = {NULL, allocate, release};
    dl_iterate_phdr(bring_segment, &PyType_Type);
    PyObject_SetArenaAllocator(&allocator);
}
