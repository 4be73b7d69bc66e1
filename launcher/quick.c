#include "launcher/quick.h"

#include "embed/embed.h"
#include "launcher/bare.h"
#include "launcher/cpuid.h"
#include "launcher/exchange.h"
#include "launcher/notes.h"
#include "launcher/segments.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/unistd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MASK_BYTES = sizeof(uint64_t) };

/* All that the new process needs of this one, in a mapping of its own. */
struct room {
    struct pye_start start;
    struct pye_exchange exchange;
    struct pye_landing landing;
    struct pye_step steps[];
};

static uint64_t address(const volatile void *pointer)
{
    return (uint64_t)pointer;
}

static void *at(uint64_t number)
{
    return (void *)number; /* NOLINT(performance-no-int-to-ptr): the kernel's and the file's numbers */
}

/* --- which file --- */

/* What follows the prefix; NULL: text begins with something else. */
static const char *behind(const char *text, const char *prefix)
{
    for (; *prefix != '\0'; prefix++, text++) {
        if (*text != *prefix)
            return NULL;
    }
    return text;
}

static const char *variable(char **environment, const char *name)
{
    for (; *environment != NULL; environment++) {
        const char *value = behind(*environment, name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

/* The file that the command line or the environment seems to name: what they say is asked again later. */
static const char *find_name(int argc, char **argv, char **environment)
{
    if (variable(environment, PYE_RESTORE_TRIES "=") != NULL)
        return NULL;
    for (int i = 1; i < argc && behind(argv[i], "--") != NULL; i++) {
        const char *value = behind(argv[i], "--restore=");
        if (value != NULL)
            return value;
    }
    return variable(environment, "PYENTRY_RESTORE=");
}

/* --- whether it is for this process --- */

static uint64_t auxiliary_value(const ElfW(auxv_t) *auxiliary, uint64_t type)
{
    for (; auxiliary->a_type != AT_NULL; auxiliary++) {
        if (auxiliary->a_type == type)
            return auxiliary->a_un.a_val;
    }
    return 0;
}

/* An init is another process than Python's; under a limit on address space what goes first matters; a bundle has a
 * command line of its own kind; the loader takes variables away from a program with its owner's rights; and the way back
 * must be there. */
static bool is_simple(const ElfW(auxv_t) *auxiliary)
{
    static const char self[] = "/proc/self/exe";
    struct rlimit limit = {.rlim_cur = 0};
    return !pye_mark_is_set() && auxiliary_value(auxiliary, AT_SECURE) == 0 && pye_call(__NR_getpid, 0, 0, 0, 0, 0, 0) != 1
           && pye_call(__NR_access, address(self), X_OK, 0, 0, 0, 0) == 0
           && pye_call(__NR_prlimit64, 0, RLIMIT_AS, 0, address(&limit), 0, 0) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

static bool is_trusted(int file, uint64_t *bytes)
{
    struct stat now = {.st_size = 0};
    if (pye_call(__NR_fstat, (uint64_t)file, address(&now), 0, 0, 0, 0) != 0)
        return false;
    *bytes = (uint64_t)now.st_size;
    return pye_image_check_file(&now, (uid_t)pye_call(__NR_geteuid, 0, 0, 0, 0, 0, 0)) == NULL;
}

/* pyentry itself: its writable part, and its build id. */
static bool is_this_program(const struct pye_image_header *header, const ElfW(auxv_t) *auxiliary)
{
    const ElfW(Phdr) *headers = at(auxiliary_value(auxiliary, AT_PHDR));
    size_t count = auxiliary_value(auxiliary, AT_PHNUM);
    uint8_t id[PYE_BUILD_ID_BYTES] = {0};
    uint64_t start, end;
    pye_segments_range(headers, count, PF_W, &start, &end);
    bool same = pye_build_id_of(headers, count, 0, id) && header->program_start == start && header->program_end == end
                && header->entry == address((const void *)pye_resume);
    for (size_t i = 0; i < sizeof id; i++)
        same = same && id[i] == header->machine.build_id[PYE_PART_PYENTRY][i];
    return same;
}

static bool is_this_processor(const struct pye_image_header *header, const ElfW(auxv_t) *auxiliary)
{
    uint32_t cpu[PYE_CPU_WORDS];
    pye_processor_find(cpu, pye_cpuid_asked);
    return header->machine.page_bytes == auxiliary_value(auxiliary, AT_PAGESZ)
           && pye_processor_has(cpu, header->machine.cpu);
}

/* --- reading --- */

static bool read_at(int file, uint64_t to, uint64_t bytes, uint64_t offset)
{
    return pye_call(__NR_pread64, (uint64_t)file, to, bytes, offset, 0, 0) == (long)bytes;
}

static bool read_header(struct pye_image_header *header, int file, const ElfW(auxv_t) *auxiliary)
{
    uint64_t bytes;
    return is_trusted(file, &bytes) && read_at(file, address(header), sizeof *header, 0)
           && pye_image_check_header(header, bytes) == NULL && is_this_program(header, auxiliary)
           && is_this_processor(header, auxiliary);
}

/* The room, with the tables behind its steps; NULL. */
static struct room *make_room(const struct pye_image_header *header, int file, uint64_t *bytes)
{
    struct pye_exchange exchange = {.image.header = *header, .file = file, .archive = -1};
    uint64_t steps = sizeof(struct room) + pye_exchange_most(&exchange) * sizeof(struct pye_step);
    uint64_t tables = pye_image_tables_bytes(header);
    *bytes = PYE_PAGE_UP(steps + tables);
    long got = pye_call(__NR_mmap, 0, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                        (uint64_t)-1, 0);
    if (got < 0)
        return NULL;
    struct room *room = at((uint64_t)got);
    room->exchange = exchange;
    if (read_at(file, (uint64_t)got + steps, tables, sizeof *header)
        && pye_image_check_tables(&room->exchange.image, at((uint64_t)got + steps)) == NULL)
        return room;
    pye_call(__NR_munmap, (uint64_t)got, *bytes, 0, 0, 0, 0);
    return NULL;
}

/* --- the way --- */

static void leap(struct room *room)
{
    const struct pye_image_header *header = &room->exchange.image.header;
    const uint64_t all = ~(uint64_t)0;
    size_t count = pye_exchange_plan(&room->exchange, room->steps);
    room->landing = (struct pye_landing){.thread_pointer = header->thread_pointer, .stack_pointer = header->stack_pointer,
                                         .entry = header->entry, .argument = address(&room->start)};
    /* From here on a signal waits, and the snapshot's handler takes it. */
    pye_call(__NR_rt_sigprocmask, SIG_SETMASK, address(&all), address(&room->start.signals), MASK_BYTES, 0, 0);
    pye_leap(room->steps, count, &room->landing);
}

void pye_quick(int argc, char **argv, char **environment, const ElfW(auxv_t) *auxiliary)
{
    struct pye_image_header header;
    uint64_t bytes;
    const char *name = find_name(argc, argv, environment);
    if (name == NULL || !is_simple(auxiliary))
        return;
    long file = pye_call(__NR_openat, (uint64_t)AT_FDCWD, address(name),
                         O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0, 0, 0);
    if (file < 0)
        return;
    struct room *room = read_header(&header, (int)file, auxiliary) ? make_room(&header, (int)file, &bytes) : NULL;
    if (room != NULL) {
        room->start.argc = argc;
        room->start.argv = argv;
        room->start.environment = environment;
        room->start.file = (int)file;
        room->start.watcher = -1;
        room->start.vdso = auxiliary_value(auxiliary, AT_SYSINFO_EHDR);
        room->start.unconfirmed = &room->exchange.image;
        room->start.name = name;
        if (pye_exchange_arena(&room->exchange) == 0)
            leap(room);
        pye_call(__NR_munmap, address(room), bytes, 0, 0, 0, 0);
    }
    pye_call(__NR_close, (uint64_t)file, 0, 0, 0, 0, 0);
}
