#include "launcher/snapshot.h"

#include "launcher/image.h"

#include <stdlib.h>

#if PYE_SNAPSHOTS

#include "launcher/arena.h"
#include "launcher/clock.h"
#include "launcher/conditions.h"
#include "launcher/level.h"
#include "launcher/limits.h"
#include "launcher/machine.h"
#include "launcher/platform.h"
#include "launcher/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIND_NOW_MARK "pyentry"

enum { PRIVATE_MODE = 0600, FILE_NUMBER = 900, LOW_NUMBERS = 64, FIRST_NUMBERS = 1024, PER_CHANCE = 4 };

struct request {
    const char *output, *preload, *warm_up, *mode;
    const char *cpu;
    enum pye_level level;
    const char *at; /* of a bundle, whose builder says so: where it will lie */
    mode_t bits;
};

static const struct {
    const char *name;
    size_t offset;
} arguments[] = {
    {"-o", offsetof(struct request, output)},
    {"--preload", offsetof(struct request, preload)},
    {"--warm-up", offsetof(struct request, warm_up)},
    {"--mode", offsetof(struct request, mode)},
    {"--cpu", offsetof(struct request, cpu)},
    {"--at", offsetof(struct request, at)},
};

/* --- the command line --- */

static bool parse_mode(struct request *request)
{
    const char *mode = request->mode;
    size_t digits = strspn(mode, "01234567");
    request->bits = PRIVATE_MODE;
    if (*mode == '\0')
        return true;
    request->bits = (mode_t)strtoul(mode, NULL, 8);
    if (digits <= 4 && mode[digits] == '\0' && (request->bits & ~(mode_t)0755) == 0)
        return true;
    pye_log("--mode='%s' is not valid: it takes a mode like 0644, which only the owner may write to", mode);
    return false;
}

/* The place for the value of a word; *value: where it stands behind an equals sign. */
static const char **find_argument(struct request *request, const char *word, const char **value)
{
    size_t length = strcspn(word, "=");
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        if (strlen(arguments[i].name) != length || strncmp(arguments[i].name, word, length) != 0)
            continue;
        *value = word[length] == '=' ? word + length + 1 : NULL;
        return (const char **)((char *)request + arguments[i].offset);
    }
    return NULL;
}

/* Takes our own words out of argv; what is left is python's command line. */
static bool parse(struct request *request, int *argc, char **argv)
{
    int i = 1;
    *request = (struct request){.output = "", .preload = "", .warm_up = "", .mode = "", .cpu = "native", .at = ""};
    for (; i < *argc; i++) {
        const char *value, **place = find_argument(request, argv[i], &value);
        if (place == NULL)
            break;
        if (value == NULL && i + 1 < *argc)
            value = argv[++i];
        if (value == NULL || *value == '\0') {
            pye_log("--snapshot: %s needs a value", argv[i]);
            return false;
        }
        *place = value;
    }
    for (int rest = 1; rest + i - 1 <= *argc; rest++)
        argv[rest] = argv[rest + i - 1]; /* the closing NULL too */
    *argc -= i - 1;
    if (*request->output == '\0') {
        pye_log("--snapshot: -o FILE is missing: the file to write");
        return false;
    }
    if (*request->preload == '\0' && *argc == 1) {
        pye_log("--snapshot: nothing to do: name modules (--preload MODULE,...), or a program that calls "
                "pyentry.checkpoint()");
        return false;
    }
    if (pye_is_bundle() != (*request->at != '\0')) {
        pye_log(pye_is_bundle() ? "--snapshot: a bundle gets its snapshot when it is built: --bundle --snapshot"
                                : "--snapshot: --at is for bundles: it comes with --bundle");
        return false;
    }
    if (!pye_level_find(request->cpu, &request->level)) {
        pye_log("--cpu='%s' is not valid: it takes v2, v3 or native", request->cpu);
        return false;
    }
    return parse_mode(request);
}

/* A bundle's image lies behind all else of it, so that its archive can be mapped from before. 0: in a file of its own. */
static uint64_t base_of(const struct request *request)
{
    struct stat self;
    if (*request->at == '\0' || stat("/proc/self/exe", &self) < 0)
        return 0;
    return PYE_PAGE_UP((uint64_t)self.st_size);
}

/* --- the process that runs Python --- */

/* Numbers that a start may find in use stay free. */
static void leave_low_numbers(void)
{
    for (int fd = STDERR_FILENO + 1; fd < LOW_NUMBERS; fd++) {
        if (fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, fd) != fd)
            return;
    }
}

static int take(int argc, char **argv, const struct pye_options *options, const struct request *request,
                const struct pye_arena *arena)
{
    const struct pye_taking taking = {
        .preload = request->preload, .warm_up = request->warm_up,
        .level = request->level, .arena_start = arena->start, .arena_end = arena->end,
        .stack_start = arena->stack_start, .stack_end = arena->stack_end,
        .file = arena->file, .base = base_of(request), .words = arena->words, .words_bytes = arena->words_bytes,
        .clocks = arena->clocks, .clocks_count = arena->clocks_count,
    };
    if (fcntl(arena->file, F_SETFD, FD_CLOEXEC) < 0)
        pye_log("--snapshot: %s", strerror(errno));
    syscall(SYS_close_range, STDERR_FILENO + 1, (unsigned)arena->file - 1, 0);
    leave_low_numbers();
    const char *bind_now = getenv("LD_BIND_NOW");
    if (bind_now != NULL && strcmp(bind_now, BIND_NOW_MARK) == 0)
        unsetenv("LD_BIND_NOW");
    /* The count of CPUs here, so that no variable is set that a start would not find again. */
    struct pye_settings settings = options->python;
    settings.cpus = pye_cpus_affinity();
    pye_signals_configure(&settings);
    return pye_take_snapshot(argc, argv, &settings, &taking);
}

/* No library is bound late: the code for that saves registers by this processor's size. Any value will do, and this one
 * tells it from the user's. */
static bool prepare_environment(enum pye_level level)
{
    bool well = pye_platform_variable("LD_BIND_NOW") != NULL || setenv("LD_BIND_NOW", BIND_NOW_MARK, 1) == 0;
    if (!well)
        pye_log("the snapshot was not taken: %s", strerror(errno));
    return well && pye_level_enforce(level);
}

/* The status of one child; whoever else comes to us is not waited for. */
static int wait_for(pid_t child)
{
    int status;
    pid_t ended;
    while ((ended = waitpid(-1, &status, 0)) != child) {
        if (ended < 0 && errno != EINTR)
            return EXIT_FAILURE;
    }
    if (WIFSIGNALED(status))
        pye_log("the snapshot was not taken: a process ended by signal %d", WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* Libraries that seed anew in a forked child know it by its process id. What starts in a container has one of the first,
 * as whoever builds in one has: so this one's is to be another. */
static void pass_first_numbers(void)
{
    unsigned char random = 0;
    getrandom(&random, sizeof random, 0);
    pid_t least = FIRST_NUMBERS + PER_CHANCE * random, child = 0;
    for (int left = 2 * least; left > 0 && child >= 0 && child < least; left--) {
        child = fork();
        if (child == 0)
            _exit(EXIT_SUCCESS);
        if (child > 0)
            wait_for(child);
    }
}

/* Python's parent, to which its orphans come: to the process above, what the user had started before may belong. */
static void stand_between(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pass_first_numbers();
    pid_t python = fork();
    if (python < 0)
        pye_log("the snapshot was not taken: fork: %s", strerror(errno));
    if (python != 0)
        _exit(python < 0 ? EXIT_FAILURE : wait_for(python));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* In the child: does not return but in the arena, in main. */
static void begin(char **argv, char **python, const struct request *request, int file)
{
    static char words[PYE_IMAGE_WORDS / 4];
    struct pye_arena arena = {.at = request->at, .words = words};
    stand_between();
    arena.file = fcntl(file, F_DUPFD, FILE_NUMBER);
    if (arena.file < 0) /* a low limit on descriptors */
        arena.file = fcntl(file, F_DUPFD, LOW_NUMBERS * 2);
    arena.clocks_count = pye_machine_clocks(arena.clocks);
    arena.words_bytes = pye_conditions_tell(words, sizeof words, python);
    if (arena.file < 0 || arena.words_bytes == 0)
        pye_log("the snapshot was not taken: the environment cannot be told");
    else if (prepare_environment(request->level)) /* told before: what is ours is not to be compared */
        pye_arena_enter(argv, environ, &arena);
    _exit(EXIT_FAILURE);
}

/* --- the process that watches --- */

static char temporary[PATH_MAX]; /* the file's name: here, for the handler */

/* The memory of a process is in the file. Those below end with us: see PR_SET_PDEATHSIG. */
static void leave_nothing(int number)
{
    unlink(temporary);
    pye_signal_act_by_default(number);
}

static void clean_up_at_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction ours = {.sa_handler = leave_nothing, .sa_flags = SA_RESTART}, now;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN) /* as under nohup(1) */
            sigaction(numbers[i], &ours, NULL);
    }
}

/* A file beside the one that is wanted, so that it can be renamed. */
static int open_temporary(const struct request *request)
{
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", request->output);
    int file = -1;
    errno = ENAMETOOLONG;
    if (length < (int)sizeof temporary) {
        clean_up_at_signals();
        file = mkostemp(temporary, O_CLOEXEC);
    }
    if (file < 0)
        pye_log("%s cannot be written: %s", request->output, strerror(errno));
    return file;
}

static bool sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int fd = directory == NULL ? -1 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (fd >= 0)
        close(fd);
    free(directory);
    return done;
}

static bool publish(const struct request *request, int file, char *program, const struct pye_options *options,
                    int64_t build_ms)
{
    uint64_t base = base_of(request);
    struct stat now;
    if (!pye_trial(temporary, file, base, program, options, build_ms))
        return false;
    if (fchmod(file, request->bits) < 0 || fsync(file) < 0 || fstat(file, &now) < 0
        || rename(temporary, request->output) < 0 || !sync_directory(request->output)) {
        pye_log("%s cannot be written: %s", request->output, strerror(errno));
        return false;
    }
    printf("%s: %.1f MB\n", base == 0 ? request->output : "the snapshot",
           (double)((uint64_t)now.st_size - base) / 1e6);
    return true;
}

static bool can_be_taken(void)
{
    struct pye_machine machine;
    struct rlimit limit;
    const char *what;
    if (!pye_machine_find(&machine, &what)) {
        pye_log("snapshots cannot be taken: %s was linked without a build id", what);
        return false;
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        pye_log("snapshots cannot be taken under a limit on address space: ulimit -v unlimited");
        return false;
    }
    /* Without one the kernel places memory upwards, and never comes to an arena below. */
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) {
        pye_log("snapshots cannot be taken with an unlimited stack: ulimit -s 8192");
        return false;
    }
    return true;
}

/* What is closed here is open for those who start; and the file must not get such a number. */
static void open_streams(void)
{
    int number;
    while ((number = open("/dev/null", O_RDWR)) >= 0 && number <= STDERR_FILENO)
        ;
    if (number > STDERR_FILENO)
        close(number);
}

static int watch(char **argv, char **python, const struct request *request, const struct pye_options *options)
{
    open_streams();
    int file = open_temporary(request);
    if (file < 0)
        return EXIT_FAILURE;
    if (*request->at != '\0')
        python[0] = (char *)request->at; /* the path that a start is to have */
    signal(SIGCHLD, SIG_DFL); /* else nobody can be waited for */
    fflush(NULL);
    int64_t begun = pye_milliseconds();
    pid_t child = fork();
    if (child == 0)
        begin(argv, python, request, file);
    if (child < 0)
        pye_log("the snapshot was not taken: fork: %s", strerror(errno));
    if (child > 0 && wait_for(child) == EXIT_SUCCESS
        && publish(request, file, python[0], options, pye_milliseconds() - begun))
        return EXIT_SUCCESS;
    unlink(temporary);
    return EXIT_FAILURE;
}

/* The command line as it was: for the process in the arena, which comes here with it. */
static char **whole_command_line(int argc, char **argv)
{
    static char command[] = "--snapshot";
    char **whole = calloc((size_t)argc + 2, sizeof *whole);
    if (whole != NULL) {
        whole[0] = argv[0];
        whole[1] = command;
        memcpy(whole + 2, argv + 1, (size_t)argc * sizeof *argv);
    }
    return whole;
}

int pye_snapshot(int argc, char **argv, const struct pye_options *options)
{
    struct request request;
    const struct pye_arena *arena = pye_arena_here();
    char **whole = whole_command_line(argc, argv);
    int status = PYE_STATUS_USAGE;
    if (whole != NULL && parse(&request, &argc, argv)) {
        if (arena != NULL)
            status = take(argc, argv, options, &request, arena);
        else
            status = can_be_taken() ? watch(whole, argv, &request, options) : EXIT_FAILURE;
    }
    free(whole);
    return status;
}

#else

int pye_snapshot(int argc, char **argv, const struct pye_options *options)
{
    (void)argc;
    (void)argv;
    (void)options;
    pye_log("--snapshot: snapshots are for x86-64 with glibc");
    return EXIT_FAILURE;
}

#endif
