#include "launcher/restore.h"

#include "launcher/image.h"

#include <stdlib.h>
#include <string.h>

#define NONE "none" /* in the place of a file: not even a bundle's own */

/* Where none is named. */
static bool go_without(const struct pye_options *options)
{
    if (options->restore_or_fail != PYE_ON)
        return true;
    pye_log("--restore-or-fail: there is no snapshot to start from; --restore=FILE or PYENTRY_RESTORE names one");
    return false;
}

#if PYE_SNAPSHOTS

#include "launcher/conditions.h"
#include "launcher/exchange.h"
#include "launcher/machine.h"
#include "launcher/maps.h"
#include "launcher/quick.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAST_ADDRESS 0x10000 /* where the kernel gives memory to nobody */
#define NO_ROOM "there is no room for its memory (a limit on address space: ulimit -v)"
#define TAKEN "its addresses are taken"

enum { MOST_TRIES = 3, HEADROOM = 32 * 1024 * 1024, STEPS_FOR_GAPS = PYE_KEPT };

static struct {
    const char *name; /* NULL: none, or none that can be used */
    struct pye_exchange exchange;
    struct pye_kept kept; /* what stays of this process */
    char reason[PYE_REASON_BYTES];
    int watcher; /* -1: nobody watches */
} restore = {.exchange = {.file = -1, .archive = -1}, .watcher = -1};

/* --- the file --- */

static bool because(const char *reason)
{
    snprintf(restore.reason, sizeof restore.reason, "%s", reason);
    return false;
}

static bool is_trusted(const struct stat *file)
{
    const char *wrong = pye_image_check_file(file, geteuid());
    return wrong == NULL || because(wrong);
}

static bool read_image(uint64_t base, uint64_t bytes)
{
    const struct pye_image_header *header = &restore.exchange.image.header;
    const char *wrong = pye_image_read(&restore.exchange.image, restore.exchange.file, base, bytes);
    if (wrong == NULL && header->program_end != 0 && header->entry != (uint64_t)pye_resume)
        wrong = "it was taken by another build of pyentry";
    return wrong == NULL || because(wrong);
}

static bool open_image(const char *path, uint64_t base)
{
    struct stat file;
    if (pye_is_bundle() && base == 0)
        return because("a bundle starts from no snapshot but its own");
    restore.exchange.archive = base == 0 ? -1 : pye_bundle_open();
    restore.exchange.file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (restore.exchange.file < 0)
        return because(errno == ELOOP ? "it is a symbolic link" : strerror(errno));
    if (fstat(restore.exchange.file, &file) < 0)
        return because(strerror(errno));
    return is_trusted(&file) && read_image(base, (uint64_t)file.st_size - base);
}

/* Who can write to the executable needs no snapshot for that. */
static bool open_own_image(uint64_t base, uint64_t bytes)
{
    restore.exchange.archive = restore.exchange.file = pye_bundle_open();
    return restore.exchange.file >= 0 ? read_image(base, bytes) : because(strerror(errno));
}

/* --- the addresses --- */

/* Whether this process has memory where an area goes. */
static bool is_taken(const struct pye_map *map)
{
    const struct pye_image *image = &restore.exchange.image;
    for (uint32_t i = 0; i < image->header.areas; i++) {
        const struct pye_image_area *area = &image->areas[i];
        if (area->start >= image->header.arena_start && map->start < area->end && map->end > area->start)
            return true;
    }
    return false;
}

/* Looks at this process's memory, for what is in the way and for what stays. */
static bool addresses_are_free(void)
{
    static char text[PYE_MAPS_BYTES];
    const struct pye_image_header *header = &restore.exchange.image.header;
    char *line = text;
    struct pye_map map;
    uint64_t start, end;
    errno = 0;
    if (pye_maps_read(text, sizeof text) < 0)
        return because("/proc/self/maps cannot be read");
    pye_machine_code(&start, &end);
    pye_keep(&restore.kept, 0, LEAST_ADDRESS);
    pye_keep(&restore.kept, start, end);
    pye_keep(&restore.kept, header->arena_start, header->arena_end);
    while (pye_maps_next(&line, &map) && map.end <= PYE_MEMORY_END) {
        if (map.end > header->arena_start && map.start < header->arena_end && is_taken(&map)) {
            errno = EEXIST;
            return because(TAKEN);
        }
        if (pye_is_kernels(&map))
            pye_keep(&restore.kept, map.start, map.end);
    }
    return true;
}

/* A bundle's command line, so that it is the app's once more whatever its words look like. */
static char **words_of_app(char **argv)
{
    static char all_else[] = "--";
    size_t count = 1;
    while (argv[count] != NULL)
        count++;
    char **words = calloc(count + 2, sizeof *words);
    if (words != NULL) {
        words[0] = argv[0];
        words[1] = all_else;
        memcpy(words + 2, argv + 1, (count - 1) * sizeof *words);
    }
    return words;
}

/* Begins anew, with everything where the kernel puts it this time. Returns where that was done often enough. */
static void try_again(char **argv)
{
    const char *tries = getenv(PYE_RESTORE_TRIES);
    long done = 0;
    char text[2] = "1";
    if (restore.watcher >= 0) /* these are not our own words */
        return;
    if (tries != NULL && !pye_parse_number(tries, 0, MOST_TRIES, &done))
        return;
    if (done == MOST_TRIES)
        return;
    text[0] = (char)('1' + done);
    char **words = pye_is_bundle() ? words_of_app(argv) : NULL;
    if (setenv(PYE_RESTORE_TRIES, text, 1) == 0)
        execv("/proc/self/exe", words == NULL ? argv : words);
    free(words);
}

/* --- memory --- */

static bool map_arena(void)
{
    int error = pye_exchange_arena(&restore.exchange);
    return error == 0 || because(error == ENOMEM ? NO_ROOM : error == EEXIST ? TAKEN : strerror(error));
}

/* Under a limit there must be room to go on, too: the drops come later than they might be needed. */
static bool has_headroom(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return true;
    void *room = mmap(NULL, HEADROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        pye_exchange_forget(&restore.exchange);
        return because(NO_ROOM);
    }
    munmap(room, HEADROOM);
    return true;
}

/* --- what the process takes along --- */

/* Everything that must outlive the exchange, in one mapping of its own. */
struct luggage {
    struct pye_start start;
    size_t steps;
    struct pye_landing landing;
    struct pye_step step[];
};

/* What a list of words and its words take, so that another list can stand behind them. */
static size_t list_bytes(char **list)
{
    size_t bytes = sizeof *list;
    for (; *list != NULL; list++)
        bytes += sizeof *list + strlen(*list) + 1;
    return (bytes + sizeof *list - 1) / sizeof *list * sizeof *list;
}

/* Copies a list to where there is room, its words behind it. */
static char **copy_list(char *room, char **list)
{
    char **copy = (char **)(void *)room;
    size_t count = 0;
    while (list[count] != NULL)
        count++;
    char *text = room + (count + 1) * sizeof *copy;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(list[i]) + 1;
        copy[i] = memcpy(text, list[i], bytes);
        text += bytes;
    }
    copy[count] = NULL;
    return copy;
}

static struct luggage *pack(int argc, char **argv, const struct pye_options *options, size_t *bytes)
{
    size_t steps = pye_exchange_most(&restore.exchange) + STEPS_FOR_GAPS;
    size_t head = sizeof(struct luggage) + steps * sizeof(struct pye_step);
    size_t variables = list_bytes(environ);
    *bytes = PYE_PAGE_UP(head + variables + list_bytes(argv));
    struct luggage *luggage = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (luggage == MAP_FAILED) {
        because(strerror(errno));
        return NULL;
    }
    char *room = (char *)luggage + head;
    luggage->start = (struct pye_start){.argc = argc, .argv = copy_list(room + variables, argv),
                                        .environment = copy_list(room, environ),
                                        .settings = options->python, .log_format = (int)options->log_format,
                                        .file = restore.exchange.file, .watcher = restore.watcher};
    luggage->start.vdso = getauxval(AT_SYSINFO_EHDR);
    luggage->landing = (struct pye_landing){.thread_pointer = restore.exchange.image.header.thread_pointer,
                                            .stack_pointer = restore.exchange.image.header.stack_pointer,
                                            .entry = restore.exchange.image.header.entry,
                                            .argument = (uint64_t)&luggage->start};
    return luggage;
}

/* The libraries and the heap that this process began with. */
static void plan_drops(struct luggage *luggage, size_t bytes)
{
    uint64_t start, end;
    pye_keep(&restore.kept, (uint64_t)luggage, (uint64_t)luggage + bytes);
    for (size_t i = 0; i < restore.kept.count; i++) {
        if (pye_gap_behind(&restore.kept, i, &start, &end))
            luggage->step[luggage->steps++] =
                (struct pye_step){.kind = PYE_STEP_DROP, .start = start, .bytes = end - start};
    }
}

static bool go(int argc, char **argv, const struct pye_options *options)
{
    sigset_t all;
    size_t bytes;
    struct luggage *luggage = pack(argc, argv, options, &bytes);
    if (luggage == NULL || !map_arena() || !has_headroom())
        return false;
    plan_drops(luggage, bytes);
    if (restore.exchange.image.header.program_end == 0) /* it cannot drop the ground that it stands on */
        pye_machine_code(&luggage->start.code_start, &luggage->start.code_end);
    luggage->steps += pye_exchange_plan(&restore.exchange, luggage->step + luggage->steps);
    /* From here on a signal finds no handler: it waits, and the snapshot's takes it. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &luggage->start.signals);
    pye_leave_rseq();
    pye_leap(luggage->step, luggage->steps, &luggage->landing);
}

/* --- the decision --- */

/* There is no start from it: how that goes on. */
static bool give_up(const struct pye_options *options)
{
    bool fatal = options->restore_or_fail == PYE_ON;
    pye_log_as(fatal ? PYE_ERROR : PYE_WARNING, "%s is not used%s: %s", restore.name,
               fatal ? "" : ", Python starts without it", restore.reason);
    restore.name = NULL;
    if (restore.exchange.file >= 0)
        close(restore.exchange.file);
    return !fatal;
}

static bool is_usable(bool opened, char **argv, char **python)
{
    if (!opened || !pye_conditions_hold(&restore.exchange.image, python, restore.reason))
        return false;
    if (addresses_are_free())
        return true;
    if (errno == EEXIST)
        try_again(argv);
    return false;
}

void pye_restore_forget(void)
{
    unsetenv("PYENTRY_RESTORE");
    unsetenv("PYENTRY_RESTORE_OR_FAIL");
    unsetenv(PYE_RESTORE_TRIES);
}

/* What began anew is called exe, by the name that it was executed by. */
static void take_name(const char *program)
{
    const char *slash = program == NULL ? NULL : strrchr(program, '/');
    if (program != NULL && getenv(PYE_RESTORE_TRIES) != NULL)
        prctl(PR_SET_NAME, slash == NULL ? program : slash + 1);
}

/* base: as for pye_restore_watched. */
static bool prepare(const struct pye_options *options, char **argv, uint64_t base)
{
    bool usable = true;
    char *app[] = {argv[0], NULL}; /* no word of the app's is an option of python's */
    uint64_t bytes;
    take_name(argv[0]);
    if (strcmp(options->restore, NONE) == 0) {
        restore.name = NULL;
    } else if (*options->restore != '\0') {
        restore.name = options->restore;
        usable = is_usable(open_image(options->restore, base), argv, argv);
    } else if (pye_bundle_snapshot(&base, &bytes)) {
        restore.name = "this bundle's snapshot";
        usable = is_usable(open_own_image(base, bytes), argv, app);
    }
    pye_restore_forget();
    return restore.name == NULL ? go_without(options) : usable || give_up(options);
}

bool pye_restore_prepare(const struct pye_options *options, char **argv)
{
    return prepare(options, argv, 0);
}

bool pye_restore(int argc, char **argv, const struct pye_options *options)
{
    return restore.name == NULL || go(argc, argv, options) || give_up(options);
}

bool pye_restore_watched(char **argv, const struct pye_options *options, uint64_t base, int watcher)
{
    restore.watcher = watcher;
    return prepare(options, argv, base) && pye_restore(1, argv, options);
}

#else

bool pye_restore_prepare(const struct pye_options *options, char **argv)
{
    (void)argv;
    if (*options->restore == '\0' || strcmp(options->restore, NONE) == 0)
        return go_without(options);
    pye_log("%s is not used: snapshots are for x86-64 with glibc", options->restore);
    return options->restore_or_fail != PYE_ON;
}

bool pye_restore(int argc, char **argv, const struct pye_options *options)
{
    (void)argc;
    (void)argv;
    (void)options;
    return true;
}

#endif
