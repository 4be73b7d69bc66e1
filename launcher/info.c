#include "config.h"

#include "launcher/info.h"

#include "launcher/descendants.h"
#include "launcher/supervise.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLOUD_RUN_GRACE_MS = 10000, LONGEST_VALUE = 60, MOST_NAMES = 8 };

const char *const pye_stream_names[3] = {"stdin", "stdout", "stderr"};

static void warn(struct pye_info *info, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct pye_info *info, const char *format, ...)
{
    va_list args;
    if (info->warnings == PYE_WARNINGS)
        return;
    va_start(args, format);
    vsnprintf(info->warning[info->warnings++], PYE_WARNING_BYTES, format, args);
    va_end(args);
}

/* --- Python --- */

/* The executable as sys.executable has it: not what a symbolic link leads to, since a venv is such a link. */
static void find_executable(const char *name, char *out, size_t room)
{
    char directory[PATH_MAX];
    if (name[0] == '/') {
        snprintf(out, room, "%s", name);
        return;
    }
    if (strchr(name, '/') != NULL && getcwd(directory, sizeof directory) != NULL) {
        int length = snprintf(out, room, "%s/%s", directory, strncmp(name, "./", 2) == 0 ? name + 2 : name);
        if (length < (int)room)
            return;
    }
    for (const char *path = getenv("PATH"); path != NULL && *path != '\0';) {
        size_t length = strcspn(path, ":");
        if (snprintf(out, room, "%.*s/%s", (int)length, path, name) < (int)room && access(out, X_OK) == 0)
            return;
        path += length + (path[length] == ':');
    }
    ssize_t length = readlink("/proc/self/exe", out, room - 1);
    out[length < 0 ? 0 : length] = '\0';
}

static bool is_there(const char *directory, const char *file)
{
    char path[PATH_MAX + NAME_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    return access(path, R_OK) == 0;
}

/* Makes path its parent directory. */
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0';
}

/* A venv has pyvenv.cfg beside the executable, or above it. */
static bool find_venv(const char *executable, char *out, size_t room)
{
    snprintf(out, room, "%s", executable);
    go_up(out);
    bool beside = is_there(out, "pyvenv.cfg");
    go_up(out);
    return beside || is_there(out, "pyvenv.cfg");
}

static void check_library(struct pye_info *info, const char *home)
{
    char directory[PATH_MAX] = PYE_STDLIB;
    size_t prefix = strlen(PYE_PREFIX);
    if (home != NULL)
        snprintf(directory, sizeof directory, "%.*s%s", (int)strcspn(home, ":"), home, &PYE_STDLIB[prefix]);
    if (*directory == '\0' || is_there(directory, "os.py") || is_there(directory, "os.pyc"))
        return;
    warn(info, "there is no standard library in %s%s: Python will not start unless it finds one elsewhere", directory,
         home != NULL ? ", where PYTHONHOME has it" : "");
}

static int find_library(struct dl_phdr_info *object, size_t size, void *out)
{
    (void)size;
    if (object->dlpi_name != NULL && strstr(object->dlpi_name, "/libpython") != NULL)
        snprintf(out, PATH_MAX, "%s", object->dlpi_name);
    return 0;
}

static void look_at_python(struct pye_info *info, const char *name)
{
    const char *home = pye_platform_variable("PYTHONHOME");
    find_executable(name, info->python.executable, sizeof info->python.executable);
    if (!find_venv(info->python.executable, info->python.prefix, sizeof info->python.prefix))
        snprintf(info->python.prefix, sizeof info->python.prefix, "%s", home == NULL ? PYE_PREFIX : home);
    check_library(info, home);
    dl_iterate_phdr(find_library, info->python.library);
}

/* --- the process --- */

static void look_at_process(struct pye_info *info)
{
    bool first = (info->process.pid = getpid()) == 1;
    enum pye_init init = info->options->init;
    info->process.init = pye_supervises(info->options);
    info->process.because = init == PYE_INIT_ALWAYS  ? "--init=always"
                            : init == PYE_INIT_NEVER ? "--init=never"
                            : first                  ? "this is process 1"
                                                     : "this is not process 1";
    if (!pye_proc_is_ours())
        warn(info, "there is no /proc of this PID namespace: limits, and what Python leaves behind, cannot be seen");
    else if (!first)
        pye_first_process(info->process.first);
    if (pye_is_shell(info->process.first))
        warn(info, "process 1 is a shell, which does not pass SIGTERM on: at a stop the Python below it is killed");
    if (first && !info->process.init)
        warn(info, "process 1 without an init: nobody reaps the processes that Python's children leave");
}

static void look_at_signals(struct pye_info *info)
{
    struct sigaction action;
    sigset_t mask;
    if (sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        warn(info, "SIGTERM is ignored: whoever started pyentry wanted that, and it does not stop the program");
    if (sigprocmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, SIGTERM) == 1)
        warn(info, "SIGTERM is blocked: whoever started pyentry wanted that, and it does not stop the program");
}

/* --- limits --- */

static void look_at_limits(struct pye_info *info)
{
    const char *variable = getenv("PYTHON_CPU_COUNT");
    struct pye_cpus_asked asked = {.option = info->options->python.cpus, .variable = variable};
    struct pye_limit quota = {.value = PYE_NO_LIMIT};
    if (!pye_cpus_choose(&asked, &info->cpus))
        warn(info, "PYTHON_CPU_COUNT='%.*s' is not valid: it takes a number from 1 on, or default", LONGEST_VALUE, variable);
    info->quota_seen = pye_cpus_quota("", &quota);
    if (info->cpus.value == PYE_NO_LIMIT)
        pye_cpus_count(&quota, &info->cpus);
    pye_memory_limit("", &info->memory);
    info->host_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    info->host_memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

/* --- streams --- */

static void look_at_streams(struct pye_info *info)
{
    static const char *const consequence[3] = {
        "sys.stdin is None", "what the program prints goes nowhere", "tracebacks and pyentry's own lines go nowhere"};
    for (int fd = 0; fd < 3; fd++) {
        const struct pye_stream *stream = &info->streams[fd];
        if (strcmp(stream->kind, "closed") == 0)
            warn(info, "%s is closed: %s", pye_stream_names[fd], consequence[fd]);
        else if (stream->wrong_way)
            warn(info, "%s is open for %s only: %s", pye_stream_names[fd], fd == 0 ? "writing" : "reading",
                 fd == 0 ? "nothing can be read" : consequence[fd]);
    }
}

/* --- options --- */

static void check_values(struct pye_info *info)
{
    struct pye_option_report report;
    for (size_t i = 0; pye_options_report(info->options, i, &report); i++) {
        if (report.takes != NULL)
            warn(info, "%s='%.*s' is not valid, and nothing will start: it takes %s", report.variable, LONGEST_VALUE,
                 report.value, report.takes);
    }
}

static bool sets(const char *entry, const char *variable)
{
    size_t length = strlen(variable);
    return strncmp(entry, variable, length) == 0 && entry[length] == '=';
}

static bool is_ours(const struct pye_info *info, const char *entry)
{
    struct pye_option_report report;
    for (size_t i = 0; pye_options_report(info->options, i, &report); i++) {
        if (sets(entry, report.variable))
            return true;
    }
    return sets(entry, PYE_SUPERVISED);
}

static void check_names(struct pye_info *info)
{
    int seen = 0;
    for (char **entry = environ; *entry != NULL; entry++) {
        if (strncmp(*entry, "PYENTRY_", strlen("PYENTRY_")) == 0 && !is_ours(info, *entry) && ++seen <= MOST_NAMES)
            warn(info, "%.*s is no variable of pyentry's, and does nothing", (int)strcspn(*entry, "="), *entry);
    }
    if (seen > MOST_NAMES)
        warn(info, "%d more variables begin with PYENTRY_, and are none of pyentry's", seen - MOST_NAMES);
}

static void check_times(struct pye_info *info)
{
    const struct pye_options *options = info->options;
    if (info->platform.generation == 0)
        return;
    if (options->python.stop_report >= CLOUD_RUN_GRACE_MS)
        warn(info, "--stop-report comes too late: Cloud Run kills 10 s after SIGTERM");
    if (options->stop_timeout >= CLOUD_RUN_GRACE_MS)
        warn(info, "--stop-timeout comes too late: Cloud Run kills 10 s after SIGTERM");
}

/* --- the command --- */

static void look(struct pye_info *info, const char *name)
{
    pye_streams_look(info->streams);
    pye_platform_find(&info->platform);
    look_at_python(info, name);
    look_at_process(info);
    look_at_limits(info);
    look_at_streams(info);
    look_at_signals(info);
    check_values(info);
    check_times(info);
    check_names(info);
}

/* Where stdout is of no use, stderr may be. */
static FILE *find_output(const struct pye_info *info)
{
    const struct pye_stream *out = &info->streams[STDOUT_FILENO];
    return strcmp(out->kind, "closed") == 0 || out->wrong_way ? stderr : stdout;
}

int pye_info(int argc, char **argv, struct pye_options *options)
{
    static struct pye_info info; /* large, and filled once */
    static char buffer[BUFSIZ];
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !json) {
        pye_log("--info takes --json or nothing behind it, not '%s'", argv[argc - 1]);
        return PYE_STATUS_USAGE;
    }
    pye_options_take_environment(options);
    info.options = options;
    look(&info, argv[0]);
    FILE *out = find_output(&info);
    setvbuf(out, buffer, _IOFBF, sizeof buffer); /* stderr has no buffer of its own */
    (json ? pye_info_json : pye_info_text)(&info, out);
    if (fflush(out) == 0 && !ferror(out))
        return EXIT_SUCCESS;
    pye_log("--info: %s cannot be written: %s", out == stdout ? "stdout" : "stderr", strerror(errno));
    return EXIT_FAILURE;
}
