#include "launcher/arena.h"

#include "launcher/image.h"

#include <stddef.h>

#if PYE_SNAPSHOTS

#include "launcher/log.h"
#include "launcher/machine.h"
#include "launcher/maps.h"
#include "launcher/remap.h"
#include "launcher/segments.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* Where an arena may begin. */
#define ARENA_LOWEST 0x080000000000
#define ARENA_HIGHEST 0x540000000000 /* above begin position-independent programs */
#define ARENA_BYTES 0x4000000000
#define ARENA_ALIGNMENT 0x200000
#define LEAST_ADDRESS 0x400000 /* below it are two or three pages that nobody is given */
#define STACK_DISTANCE 0x1000000000 /* the room for a longer stack, where the limit of a start allows it */
#define LOADER_BYTES 0x400000
#define PROGRAM_BYTES 0x4000000 /* of a position-independent pyentry, with its data */

/* An entry of ours in the auxiliary vector, of a type that nobody else uses. */
#define AT_ARENA 0x70796530

enum {
    LEAST_STACK = 8 * 1024 * 1024,
    MOST_STACK = 64 * 1024 * 1024,
    AUXILIARY = 64,
    STEPS = PYE_KEPT + 8,
    RANDOM_BYTES = 16,
    PLACES_TRIED = 16,
};

struct program {
    uint64_t loader_base, loader_entry;
    uint64_t base; /* 0: pyentry stays where it is */
    struct pye_step steps[STEPS];
    size_t count;
};

const struct pye_arena *pye_arena_here(void)
{
    return (const struct pye_arena *)getauxval(AT_ARENA); /* NOLINT(performance-no-int-to-ptr): ours, see below */
}

static void *at(uint64_t address)
{
    return (void *)address; /* NOLINT(performance-no-int-to-ptr): the arena is made of numbers */
}

static bool fail(const char *what)
{
    pye_log("the snapshot was not taken: %s: %s", what, strerror(errno));
    return false;
}

/* --- where --- */

/* Whether this process has nothing in it. */
static bool is_free(const struct pye_arena *arena)
{
    static char text[PYE_MAPS_BYTES];
    char *line = text;
    struct pye_map map;
    if (pye_maps_read(text, sizeof text) < 0)
        return false;
    while (pye_maps_next(&line, &map)) {
        if (map.start < arena->stack_end && map.end > arena->start)
            return false;
    }
    return true;
}

static void choose(struct pye_arena *arena, uint64_t random)
{
    struct rlimit limit = {.rlim_cur = LEAST_STACK};
    uint64_t stack = LEAST_STACK;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur > LEAST_STACK)
        stack = limit.rlim_cur < MOST_STACK ? PYE_PAGE_UP(limit.rlim_cur) : MOST_STACK;
    arena->start = ARENA_LOWEST + random % ((ARENA_HIGHEST - ARENA_LOWEST) / ARENA_ALIGNMENT) * ARENA_ALIGNMENT;
    arena->end = arena->start + ARENA_BYTES;
    arena->stack_start = arena->end + STACK_DISTANCE;
    arena->stack_end = arena->stack_start + stack;
}

static bool find_place(struct pye_arena *arena)
{
    uint64_t random[PLACES_TRIED];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return fail("getrandom");
    for (size_t i = 0; i < PLACES_TRIED; i++) {
        choose(arena, random[i]);
        if (is_free(arena))
            return true;
    }
    errno = EEXIST;
    return fail("the arena");
}

static bool map_new(uint64_t start, uint64_t end, int protection)
{
    const struct pye_step step = {.kind = PYE_STEP_MAP, .protection = protection, .fd = -1,
                                  .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
                                  .start = start, .bytes = end - start};
    errno = pye_step(&step);
    return errno == 0 || fail("the arena");
}

/* --- the program's two files --- */

static void add_step(struct program *program, const struct pye_step *step)
{
    if (program->count < STEPS)
        program->steps[program->count] = *step;
    program->count++;
}

static void add_segment(struct program *program, const ElfW(Phdr) *segment, uint64_t base, int fd)
{
    struct pye_step steps[PYE_SEGMENT_STEPS];
    size_t count = pye_segment_plan(steps, segment, base, fd);
    for (size_t i = 0; i < count; i++)
        add_step(program, &steps[i]);
}

static const char *loader_path(void)
{
    const ElfW(Phdr) *segments = at(getauxval(AT_PHDR));
    uint64_t start, end, bias = pye_machine_code(&start, &end);
    for (size_t i = 0; i < getauxval(AT_PHNUM); i++) {
        if (segments[i].p_type == PT_INTERP)
            return at(segments[i].p_vaddr + bias);
    }
    return ""; /* then there would be no C library */
}

static bool load_segments(const ElfW(Ehdr) *header, int fd, uint64_t base)
{
    ElfW(Phdr) segments[AUXILIARY];
    size_t bytes = header->e_phnum * sizeof *segments;
    if (bytes > sizeof segments || pread(fd, segments, bytes, (off_t)header->e_phoff) != (ssize_t)bytes)
        return false;
    errno = pye_segments_map(segments, header->e_phnum, base, fd);
    return errno == 0;
}

/* Loads a file that may lie anywhere. Its entry; 0, with a line printed. */
static uint64_t load(const char *path, uint64_t base)
{
    ElfW(Ehdr) header;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(path);
        return 0;
    }
    errno = ENOEXEC;
    bool loaded = pread(fd, &header, sizeof header, 0) == sizeof header
                  && pye_is_elf(&header) && header.e_type == ET_DYN
                  && header.e_phentsize == sizeof(ElfW(Phdr)) && load_segments(&header, fd, base);
    if (!loaded)
        fail(path);
    close(fd);
    return loaded ? base + header.e_entry : 0;
}

/* The dynamic loader goes to the upper end of the arena, below which the kernel places what comes next. */
static bool load_loader(struct program *program, const struct pye_arena *arena)
{
    program->loader_base = arena->end - LOADER_BYTES;
    program->loader_entry = load(loader_path(), program->loader_base);
    return program->loader_entry != 0;
}

/* pyentry itself: where its address is fixed, its writable part becomes what it is in the file, and the rest stays;
 * else all of it goes into the arena. */
static bool plan_program(struct program *program, const struct pye_arena *arena)
{
    const ElfW(Phdr) *segments = at(getauxval(AT_PHDR));
    size_t count = getauxval(AT_PHNUM);
    uint64_t start, end;
    pye_machine_program(&start, &end);
    if (end == 0) {
        program->base = arena->end - LOADER_BYTES - PROGRAM_BYTES;
        return load("/proc/self/exe", program->base) != 0;
    }
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail("/proc/self/exe");
    for (size_t i = 0; i < count; i++) {
        if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & PF_W))
            add_segment(program, &segments[i], 0, fd);
    }
    return true;
}

/* --- the first stack --- */

/* Copies bytes to the end of what is left of the stack. */
static char *push(char **top, const void *bytes, size_t length)
{
    *top -= length;
    return memcpy(*top, bytes, length);
}

static size_t count_of(char **list)
{
    size_t count = 0;
    while (list[count] != NULL)
        count++;
    return count;
}

/* Copies the strings, and leaves their new addresses in words, which has room for them and a NULL. */
static void push_strings(char **top, char **list, uint64_t *words)
{
    size_t i = 0;
    for (; list[i] != NULL; i++)
        words[i] = (uint64_t)push(top, list[i], strlen(list[i]) + 1);
    words[i] = 0;
}

/* Headers that launcher/first.c has put together lie in memory that is about to be the file's. 0: they do not. */
static uint64_t push_headers(char **top)
{
    uint64_t start, end, headers = getauxval(AT_PHDR);
    pye_machine_program(&start, &end);
    if (headers < start || headers >= end)
        return 0;
    return (uint64_t)push(top, at(headers), getauxval(AT_PHNUM) * sizeof(ElfW(Phdr)));
}

/* The kernel's own vector, with what is ours in it. The number of entries; 0 where it cannot be read. */
static size_t make_auxiliary(ElfW(auxv_t) *out, const struct program *program, uint64_t name, uint64_t random,
                             uint64_t arena, uint64_t headers)
{
    ElfW(auxv_t) in[AUXILIARY] = {{.a_type = AT_NULL}};
    size_t count = 0;
    uint64_t start, end;
    pye_machine_code(&start, &end);
    uint64_t moved = program->base == 0 ? 0 : program->base - start;
    int fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, in, sizeof in - sizeof *in);
    close(fd);
    for (size_t i = 0; got > 0 && in[i].a_type != AT_NULL && count < AUXILIARY - 2; i++) {
        ElfW(auxv_t) entry = in[i];
        switch (entry.a_type) {
        case AT_SYSINFO_EHDR:
        case AT_PLATFORM: /* a string of the kernel's, not to be carried */
            continue;
        case AT_BASE:
            entry.a_un.a_val = program->loader_base;
            break;
        case AT_PHDR:
            entry.a_un.a_val = headers == 0 ? getauxval(AT_PHDR) + moved : headers;
            break;
        case AT_PHNUM:
            entry.a_un.a_val = getauxval(AT_PHNUM);
            break;
        case AT_ENTRY:
            entry.a_un.a_val = getauxval(AT_ENTRY) + moved;
            break;
        case AT_EXECFN:
            entry.a_un.a_val = name;
            break;
        case AT_RANDOM:
            entry.a_un.a_val = random;
            break;
        default:
            break;
        }
        out[count++] = entry;
    }
    if (count == 0)
        return 0;
    out[count++] = (ElfW(auxv_t)){.a_type = AT_ARENA, .a_un.a_val = arena};
    out[count++] = (ElfW(auxv_t)){.a_type = AT_NULL};
    return count;
}

/* Lays out what a program finds at its beginning. The stack pointer; 0 where there is no memory. */
static uint64_t make_stack(const struct pye_arena *arena, const struct program *program, char **argv,
                           char **environment)
{
    char random[RANDOM_BYTES], *top = (char *)at(arena->stack_end - sizeof(uint64_t));
    size_t arguments = count_of(argv), variables = count_of(environment);
    ElfW(auxv_t) auxiliary[AUXILIARY];
    uint64_t *words = calloc(arguments + variables + 3, sizeof *words);
    if (words == NULL || getrandom(random, sizeof random, 0) != sizeof random) {
        free(words);
        return 0;
    }
    words[0] = arguments;
    push_strings(&top, argv, words + 1);
    push_strings(&top, environment, words + arguments + 2);
    struct pye_arena copy = *arena;
    copy.at = push(&top, arena->at, strlen(arena->at) + 1);
    copy.words = push(&top, arena->words, arena->words_bytes);
    top = at((uint64_t)top & ~(uint64_t)15);
    uint64_t note = (uint64_t)push(&top, &copy, sizeof copy), seed = (uint64_t)push(&top, random, sizeof random);
    size_t pairs = make_auxiliary(auxiliary, program, words[1], seed, note, push_headers(&top));
    size_t list = (arguments + variables + 3) * sizeof *words, vector = pairs * sizeof *auxiliary;
    top = at(((uint64_t)top - list - vector) & ~(uint64_t)15);
    memcpy(top, words, list);
    memcpy(top + list, auxiliary, vector);
    free(words);
    return pairs == 0 ? 0 : (uint64_t)top;
}

/* --- the fence --- */

/* What stays where it is: pyentry, the arena, and what the kernel made for this process. */
static bool plan_fence(struct program *program, const struct pye_arena *arena)
{
    static char text[PYE_MAPS_BYTES];
    struct pye_kept kept = {.count = 0};
    struct pye_map map;
    char *line = text;
    uint64_t start, end;
    if (pye_maps_read(text, sizeof text) < 0)
        return fail("/proc/self/maps");
    pye_machine_code(&start, &end);
    pye_keep(&kept, 0, LEAST_ADDRESS);
    pye_keep(&kept, start, end);
    pye_keep(&kept, arena->start, arena->end);
    pye_keep(&kept, arena->stack_start, arena->stack_end);
    while (pye_maps_next(&line, &map) && map.end <= PYE_MEMORY_END) {
        if (pye_is_kernels(&map))
            pye_keep(&kept, map.start, map.end);
    }
    for (size_t i = 0; i < kept.count; i++) {
        if (pye_gap_behind(&kept, i, &start, &end))
            add_step(program, &(struct pye_step){.kind = PYE_STEP_MAP, .protection = PROT_NONE, .fd = -1,
                                                 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                                                 .start = start, .bytes = end - start});
    }
    return true;
}

/* --- the way in --- */

static void default_actions(void)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &fallback, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void pye_arena_enter(char **argv, char **environment, const struct pye_arena *wanted)
{
    static struct program program;
    static struct pye_arena arena;
    struct pye_landing landing = {.thread_pointer = 0};

    arena = *wanted;
    if (!find_place(&arena) || !map_new(arena.stack_start, arena.stack_end, PROT_READ | PROT_WRITE)
        || !load_loader(&program, &arena) || !plan_program(&program, &arena) || !plan_fence(&program, &arena))
        return;
    landing.stack_pointer = make_stack(&arena, &program, argv, environment);
    landing.entry = program.loader_entry;
    if (landing.stack_pointer == 0 || program.count > STEPS) {
        errno = ENOMEM;
        fail("the arena");
        return;
    }
    default_actions();
    struct pye_step steps[STEPS]; /* on the kernel's stack, which stays */
    memcpy(steps, program.steps, program.count * sizeof *steps);
    pye_leave_rseq();
    pye_leap(steps, program.count, &landing);
}

#else

const struct pye_arena *pye_arena_here(void)
{
    return NULL;
}

#endif
