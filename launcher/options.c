#include "launcher/options.h"

#include "launcher/platform.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { CHOICE, DURATION, SIGNAL_MAP, STATUS, CPUS, PATH, SWITCH };

struct option {
    const char *name;
    const char *argument; /* what --help shows; of a CHOICE the values themselves, in their enum's order */
    const char *fallback;
    enum kind kind;
    size_t offset; /* in struct pye_options */
    const char *help;
};

#define FIELD(member) offsetof(struct pye_options, member)

static const struct option table[] = {
    {"init", "auto|always|never", "auto", CHOICE, FIELD(init),
     "supervise Python from a parent process; auto: when pyentry is PID 1"},
    {"forward", "auto|main|group", "auto", CHOICE, FIELD(python.forward),
     "who else gets a SIGTERM: the direct children, nobody, the process group"},
    {"signal-map", "FROM=TO[,...]", "", SIGNAL_MAP, FIELD(python.signal_map),
     "rewrite an arriving signal (TERM=QUIT); a TO of 0 drops it"},
    {"stop-report", "DURATION", "8s", DURATION, FIELD(python.stop_report),
     "still alive this long after SIGTERM: print every thread's traceback; 0: never"},
    {"stop-timeout", "DURATION", "0", DURATION, FIELD(stop_timeout),
     "then kill what is left, where Python is supervised; 0: never"},
    {"term-status", "N", "", STATUS, FIELD(python.term_status),
     "exit status after a stop by SIGTERM that went well, not the signal itself"},
    {"cpus", "auto|N", "auto", CPUS, FIELD(python.cpus),
     "what os.cpu_count() says; auto: the least of the CPUs and the container's quota"},
    {"faulthandler", "on|off", "on", CHOICE, FIELD(python.faulthandler),
     "Python tracebacks when the process crashes"},
    {"fast-exit", "on|off", "off", SWITCH, FIELD(python.fast_exit),
     "end without taking the interpreter's modules apart; alone it means on"},
    {"log-format", "auto|text|json", "auto", CHOICE, FIELD(log_format),
     "form of pyentry's own lines and of uncaught tracebacks; auto: json on Cloud Run"},
    {"restore", "FILE|none", "", PATH, FIELD(restore),
     "start from this snapshot, or not even from the bundle's own; where it cannot be used, say why and start normally"},
    {"restore-or-fail", "on|off", "off", SWITCH, FIELD(restore_or_fail),
     "then end instead, with status 1; alone it means on"},
};

/* What pyentry does in the place of python. */
struct command {
    const char *name;
    const char *arguments; /* what --help shows; the command itself parses them */
    enum pye_action action;
    const char *help;
};

static const struct command commands[] = {
    {"healthcheck", "[--timeout DURATION] [URL]", PYE_HEALTHCHECK,
     "whether a server answers with a status from 200 to 399: exit 0, else 1"},
    {"info", "[--json]", PYE_INFO, "what pyentry sees: Python, process, platform, limits, streams, options"},
    {"bundle", "-o OUT [-m MODULE[:FUNCTION]] [option]... PATH...", PYE_BUILD_BUNDLE,
     "write one executable file that is the app with all it imports; --bundle --help says more"},
    {"snapshot", "-o FILE [--preload MODULE,...] [--warm-up MODULE:FUNCTION] [--mode MODE] "
     "[--cpu v2|v3|native] [TARGET]", PYE_SNAPSHOT,
     "imports once, and writes a file to start from: --restore"},
    {"version", "", PYE_SHOW_VERSION, "the versions of Python and of pyentry"},
    {"help", "", PYE_SHOW_HELP, "this text, and python's own"},
};

enum {
    OPTIONS = sizeof table / sizeof *table,
    COMMANDS = sizeof commands / sizeof *commands,
    LONGEST_PAIR = 40, /* what is shown of one */
    VARIABLE_BYTES = sizeof((struct pye_option_report *)NULL)->variable,
};
_Static_assert(OPTIONS <= 8 * sizeof((struct pye_options *)NULL)->given, "an option has no bit");

/* --stop-report -> PYENTRY_STOP_REPORT */
static const char *variable_of(const struct option *option)
{
    static char variable[VARIABLE_BYTES] = "PYENTRY_";
    char *end = variable + sizeof "PYENTRY_" - 1;
    for (const char *letter = option->name; *letter != '\0' && end < variable + sizeof variable - 1; letter++)
        *end++ = *letter == '-' ? '_' : (char)(*letter - 'a' + 'A');
    *end = '\0';
    return variable;
}

static bool same(const char *text, size_t length, const char *name)
{
    return strlen(name) == length && strncmp(text, name, length) == 0;
}

static size_t length_before(const char *text, char end)
{
    return (size_t)(strchrnul(text, end) - text);
}

/* The place of text among "auto|never" is the value of the enum. */
static bool parse_choice(const char *text, const char *choices, int *place)
{
    for (int index = 0;; index++) {
        size_t length = length_before(choices, '|');
        if (same(choices, length, text)) {
            *place = index;
            return true;
        }
        if (choices[length] == '\0')
            return false;
        choices += length + 1;
    }
}

static bool store(struct pye_options *options, const struct option *option, const char *text)
{
    void *field = (char *)options + option->offset;
    long number;
    switch (option->kind) {
    case CHOICE:
    case SWITCH:
        return parse_choice(text, option->argument, field);
    case PATH:
        *(const char **)field = text;
        return *text != '\0';
    case DURATION:
        return pye_parse_duration(text, field);
    case SIGNAL_MAP:
        return pye_parse_signal_map(text, field, &(struct pye_pair){.text = NULL});
    case STATUS:
        if (!pye_parse_number(text, 0, 255, &number))
            return false;
        *(int *)field = (int)number;
        return true;
    case CPUS:
        if (strcmp(text, "auto") == 0)
            number = 0;
        else if (!pye_parse_number(text, 1, INT_MAX, &number))
            return false;
        *(int *)field = (int)number;
        return true;
    }
    return false;
}

/* The pair that is wrong, and why. */
static const char *explain_map(const char *text)
{
    static char line[256];
    struct pye_signal_map map;
    struct pye_pair wrong = {.text = NULL};
    if (pye_parse_signal_map(text, &map, &wrong))
        return "";
    snprintf(line, sizeof line, "pairs of signals like TERM=QUIT,HUP=0, and of '%.*s' %s",
             wrong.length < LONGEST_PAIR ? wrong.length : LONGEST_PAIR, wrong.text, wrong.why);
    return line;
}

/* What a value of this kind looks like; of a CHOICE --help's argument says it. */
static const char *takes(const struct option *option, const char *value)
{
    switch (option->kind) {
    case CHOICE:
    case SWITCH:
        return option->argument;
    case PATH:
        return "the path of a file, or none";
    case DURATION:
        return "a duration like 500ms, 8s or 2m, at most 1440m, or 0 for never";
    case SIGNAL_MAP:
        return explain_map(value);
    case STATUS:
        return "a number from 0 to 255";
    case CPUS:
        return "a number from 1 on, or auto";
    }
    return "";
}

static bool refuse(const struct option *option, const char *value, bool from_command_line)
{
    pye_log("%s%s='%s' is not valid: it takes %s", from_command_line ? "--" : "",
            from_command_line ? option->name : variable_of(option), value, takes(option, value));
    return false;
}

static const struct option *find(const char *name, size_t length)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (same(name, length, table[i].name))
            return &table[i];
    }
    return NULL;
}

static const struct command *find_command(const char *name, size_t length)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (same(name, length, commands[i].name))
            return &commands[i];
    }
    return NULL;
}

/* Whether a and b differ in one character, one more or less, or two neighbours swapped. */
static bool nearly(const char *a, size_t a_length, const char *b)
{
    size_t b_length = strlen(b), head = 0, tail = 0;
    size_t shorter = a_length < b_length ? a_length : b_length;
    size_t longer = a_length < b_length ? b_length : a_length;

    while (head < shorter && a[head] == b[head])
        head++;
    while (tail < shorter - head && a[a_length - 1 - tail] == b[b_length - 1 - tail])
        tail++;
    size_t differ = longer - head - tail;
    if (differ <= 1)
        return true;
    return a_length == b_length && differ == 2 && a[head] == b[head + 1] && a[head + 1] == b[head];
}

/* A slip in one of our names is ours to explain; any other unknown option is python's to refuse. */
static enum pye_action unknown(const char *name, size_t length)
{
    for (size_t i = 0; i < OPTIONS + COMMANDS; i++) {
        const char *ours = i < OPTIONS ? table[i].name : commands[i - OPTIONS].name;
        if (nearly(name, length, ours)) {
            pye_log("unknown option --%.*s: did you mean --%s? See pyentry --help", (int)length, name, ours);
            return PYE_USAGE_ERROR;
        }
    }
    return PYE_RUN;
}

/* Its arguments are words of their own. */
static enum pye_action take_command(const struct command *command, bool has_value)
{
    if (!has_value)
        return command->action;
    pye_log("--%s takes nothing behind an equals sign: pyentry --%s%s%s", command->name, command->name,
            *command->arguments == '\0' ? "" : " ", command->arguments);
    return PYE_USAGE_ERROR;
}

/* Puts the command line's options into the environment, and stops at a command, or at the first that is not ours. */
static enum pye_action take_command_line(struct pye_options *options, int argc, char **argv, int *taken)
{
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0'; i++) {
        const char *name = argv[i] + 2;
        size_t length = length_before(name, '=');
        const struct command *command = find_command(name, length);
        if (command != NULL) {
            *taken = command->action == PYE_SHOW_HELP ? i - 1 : i; /* python adds its own help */
            return take_command(command, name[length] == '=');
        }
        const struct option *option = find(name, length);
        if (option == NULL) {
            *taken = i - 1;
            return unknown(name, length);
        }
        if (name[length] == '\0' && i + 1 == argc && option->kind != SWITCH) {
            pye_log("--%s needs a value: --%s=%s", option->name, option->name, option->argument);
            return PYE_USAGE_ERROR;
        }
        const char *value = name[length] == '=' ? name + length + 1 : option->kind == SWITCH ? "on" : argv[++i];
        if (!store(options, option, value)) {
            refuse(option, value, true);
            return PYE_USAGE_ERROR;
        }
        options->given |= 1U << (option - table);
        pye_log_configure(options->log_format);
        if (setenv(variable_of(option), value, 1) < 0) {
            pye_log("--%s: %s", option->name, strerror(errno));
            return PYE_USAGE_ERROR;
        }
    }
    *taken = i - 1;
    return PYE_RUN;
}

static bool is_ours(const char *name)
{
    size_t length = length_before(name, '=');
    const struct command *command = find_command(name, length);
    bool pythons = command != NULL && (command->action == PYE_SHOW_HELP || command->action == PYE_SHOW_VERSION);
    return find(name, length) != NULL || (command != NULL && !pythons);
}

/* The words that a word of python's short options takes: itself, and an argument of -W or -X; 0: -c or -m ends them. */
static int words_of(const char *letters)
{
    size_t plain = strcspn(letters, "cmWX");
    if (letters[plain] == 'c' || letters[plain] == 'm')
        return 0;
    return letters[plain] != '\0' && letters[plain + 1] == '\0' ? 2 : 1;
}

/* python would refuse an option of ours among its own as one that nobody has. */
static bool refuse_misplaced(int argc, char **argv, int first)
{
    int words = 1;
    for (int i = first; words > 0 && i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i += words) {
        if (argv[i][1] != '-') {
            words = words_of(argv[i] + 1);
            continue;
        }
        if (i > first && is_ours(argv[i] + 2)) {
            pye_log("%.*s stands behind python's option %s: pyentry's options come first. See pyentry --help",
                    (int)length_before(argv[i], '='), argv[i], argv[first]);
            return true;
        }
        words = strcmp(argv[i], "--check-hash-based-pycs") == 0 ? 2 : 0; /* the only long one that python goes on from */
    }
    return false;
}

/* An empty variable counts as unset, as python's own variables do. */
static const char *value_of(const struct option *option)
{
    return pye_platform_variable(variable_of(option));
}

static bool read_environment(struct pye_options *options)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *value = value_of(&table[i]);
        if (value != NULL && !store(options, &table[i], value))
            return refuse(&table[i], value, false);
    }
    return true;
}

static void set_defaults(struct pye_options *options)
{
    *options = (struct pye_options){.python.term_status = PYE_BY_SIGNAL, .restore = ""};
    pye_signal_map_clear(&options->python.signal_map);
    for (size_t i = 0; i < OPTIONS; i++) {
        if (*table[i].fallback != '\0')
            store(options, &table[i], table[i].fallback);
    }
}

/* Before anything is refused: that, too, is said in the format that was asked for. */
static void configure_log(struct pye_options *options)
{
    const struct option *option = find("log-format", strlen("log-format"));
    const char *value = value_of(option);
    if (value != NULL)
        store(options, option, value);
    pye_log_configure(options->log_format);
}

/* What a bundle's builder wrote down counts where the environment is silent. */
static bool take_bundle(void)
{
    size_t at = 0;
    char *text;
    int more;
    while ((more = pye_bundle_option(&at, &text)) > 0) {
        size_t length = length_before(text, '=');
        const struct option *option = find(text, length);
        if (option != NULL && value_of(option) == NULL)
            setenv(variable_of(option), text + length + (text[length] == '='), 1);
        free(text);
    }
    return more == 0;
}

enum pye_action pye_options_read(struct pye_options *options, int *argc, char **argv)
{
    int taken = 0;
    enum pye_action action = PYE_RUN;

    set_defaults(options);
    if (!take_bundle())
        return PYE_USAGE_ERROR;
    configure_log(options);
    bool has_ours = !pye_bundle_has_command_line();
    if (has_ours)
        action = take_command_line(options, *argc, argv, &taken);
    bool misplaced = has_ours && action == PYE_RUN && refuse_misplaced(*argc, argv, taken + 1);
    if (misplaced || (action == PYE_RUN && !read_environment(options)))
        action = PYE_USAGE_ERROR;
    if (action != PYE_USAGE_ERROR) {
        for (int i = 1; i + taken <= *argc; i++)
            argv[i] = argv[i + taken]; /* the closing NULL too */
        *argc -= taken;
    }
    return action;
}

void pye_options_take_environment(struct pye_options *options)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *value = value_of(&table[i]);
        if (value != NULL)
            store(options, &table[i], value);
    }
}

bool pye_options_report(const struct pye_options *options, size_t index, struct pye_option_report *report)
{
    struct pye_options scratch = *options;
    if (index >= OPTIONS)
        return false;
    const struct option *option = &table[index];
    const char *value = value_of(option);
    *report = (struct pye_option_report){.name = option->name, .value = value};
    memcpy(report->variable, variable_of(option), VARIABLE_BYTES);
    if (options->given & 1U << index)
        report->from = PYE_FROM_COMMAND_LINE;
    else if (value != NULL)
        report->from = PYE_FROM_VARIABLE;
    else if (*option->fallback != '\0')
        report->value = option->fallback;
    if (value != NULL && !store(&scratch, option, value))
        report->takes = takes(option, value);
    return true;
}

void pye_options_help(void)
{
    puts("usage: pyentry [pyentry option]... [python option]... [-c cmd | -m mod | file | -] [arg]...\n"
         "pyentry takes the place of python: it prints at once, stops when told, and loses nothing.\n\n"
         "pyentry options come first; each is a variable, too: --stop-report is PYENTRY_STOP_REPORT.");
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *option = &table[i];
        printf("  --%s=%s\n        %s", option->name, option->argument, option->help);
        if (*option->fallback != '\0')
            printf(" [%s]", option->fallback);
        putchar('\n');
    }
    puts("\ncommands, in the place of python:");
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *command = &commands[i];
        printf("  --%s%s%s\n        %s\n", command->name, *command->arguments == '\0' ? "" : " ",
               command->arguments, command->help);
    }
    puts("\npython options:");
    fflush(stdout);
}
