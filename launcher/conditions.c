#include "launcher/conditions.h"

#include "launcher/machine.h"
#include "launcher/values.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if PYE_SNAPSHOTS

/* --- python's command line --- */

static bool append_text(char *out, size_t room, const char *text)
{
    size_t length = strlen(out);
    return snprintf(out + length, room - length, "%s%s", length == 0 ? "" : " ", text) < (int)(room - length);
}

static bool append_letter(char *out, char letter)
{
    char option[] = {'-', letter, '\0'};
    return letter == 'u' || append_text(out, PYE_OPTIONS_BYTES, option);
}

/* One word of options, and the next where it is an argument. False: too long. *target: -c or -m was among them. */
static bool take_options(char **argv, int *i, char *text, bool *target)
{
    for (const char *letter = argv[*i] + 1; *letter != '\0'; letter++) {
        *target = *letter == 'c' || *letter == 'm';
        if (*target)
            return true;
        if (!append_letter(text, *letter))
            return false;
        if (*letter != 'W' && *letter != 'X')
            continue;
        const char *argument = letter[1] != '\0' ? letter + 1 : argv[++*i];
        return argument == NULL || append_text(text, PYE_OPTIONS_BYTES, argument);
    }
    return true;
}

bool pye_python_options(char **argv, char text[PYE_OPTIONS_BYTES], bool *target)
{
    *text = '\0';
    *target = false;
    for (int i = 1; !*target && argv[0] != NULL && argv[i] != NULL; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            *target = true;
        } else if (argv[i][1] == '-') { /* python's few long ones */
            bool takes = strcmp(argv[i], "--check-hash-based-pycs") == 0;
            if (!append_text(text, PYE_OPTIONS_BYTES, argv[i])
                || (takes && argv[i + 1] != NULL && !append_text(text, PYE_OPTIONS_BYTES, argv[++i])))
                return false;
        } else if (!take_options(argv, &i, text, target)) {
            return false;
        }
        if (argv[i] == NULL) /* an option lacks its argument: python will say so */
            break;
    }
    return true;
}

/* --- the program --- */

static bool join(char out[PATH_MAX], const char *directory, size_t length, const char *name)
{
    int wanted = snprintf(out, PATH_MAX, "%.*s/%s", (int)length, directory, name);
    return wanted > 0 && wanted < PATH_MAX;
}

/* The path that python takes for sys.executable: of the name itself, or of the first such program in PATH. */
static void find_program(const char *name, char path[PATH_MAX])
{
    char directory[PATH_MAX];
    const char *search = getenv("PATH");
    *path = '\0';
    if (name == NULL)
        return;
    if (strchr(name, '/') != NULL) {
        if (*name == '/')
            snprintf(path, PATH_MAX, "%s", name);
        else if (getcwd(directory, sizeof directory) == NULL || !join(path, directory, strlen(directory), name))
            *path = '\0';
        return;
    }
    while (search != NULL && *search != '\0') {
        size_t length = strcspn(search, ":");
        if (length > 0 && join(path, search, length, name) && access(path, X_OK) == 0)
            return;
        search += length + (search[length] == ':');
    }
    *path = '\0';
}

/* --- the environment --- */

/* Variables that python, the C library or libraries behind extension modules read without our seeing it. A name that
 * ends in an underscore stands for all that begin with it. */
static const char *const unseen[] = {
    "PYTHON",   "LC_",       "LD_",   "MALLOC_", "LANG",  "LANGUAGE",    "LOCPATH",
    "OMP_",     "OPENBLAS_", "MKL_",  "BLIS_",   "GOTO_", "OPENSSL_",    "GLIBC_TUNABLES",
    "NUMEXPR_", "KMP_",      "GOMP_", "NPY_",    "SSL_",  "NLSPATH",
};

static bool is_unseen(const char *variable)
{
    size_t length = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++) {
        size_t family = strlen(unseen[i]);
        bool open = unseen[i][family - 1] == '_' || strcmp(unseen[i], "PYTHON") == 0;
        if (strncmp(variable, unseen[i], family) == 0 && (open || length == family))
            return strncmp(variable, "PYTHONUNBUFFERED=", strlen("PYTHONUNBUFFERED=")) != 0;
    }
    return false;
}

bool pye_conditions_append(char *out, size_t room, size_t *length, const struct pye_word *word)
{
    const char *parts[] = {(const char[]){word->kind, '\0'}, word->name, word->value, word->place};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t bytes = strlen(parts[i]) + 1;
        if (bytes > room - *length)
            return false;
        memcpy(out + *length, parts[i], bytes);
        *length += bytes;
    }
    return true;
}

static bool tell_variable(char *out, size_t room, size_t *length, const char *variable)
{
    char name[NAME_MAX + 1];
    size_t bytes = strcspn(variable, "=");
    if (bytes >= sizeof name || variable[bytes] == '\0')
        return true; /* no name that anybody would look for */
    memcpy(name, variable, bytes);
    name[bytes] = '\0';
    struct pye_word word = {PYE_WORD_SET, name, variable + bytes + 1, ""};
    return pye_conditions_append(out, room, length, &word);
}

size_t pye_conditions_tell(char *out, size_t room, char **argv)
{
    char path[PATH_MAX], options[PYE_OPTIONS_BYTES];
    size_t length = 0;
    bool target;
    find_program(argv[0], path);
    if (!pye_python_options(argv, options, &target))
        return 0;
    if (!pye_conditions_append(out, room, &length, &(struct pye_word){PYE_WORD_PROGRAM, "", path, ""})
        || !pye_conditions_append(out, room, &length, &(struct pye_word){PYE_WORD_OPTIONS, "", options, ""}))
        return 0;
    for (char **variable = environ; *variable != NULL; variable++) {
        if (is_unseen(*variable) && !tell_variable(out, room, &length, *variable))
            return 0;
    }
    return length;
}

/* --- at a start --- */

enum { ON_THE_WAY = 3 }; /* descriptors that are above a snapshot's for a moment, until they get their numbers */

static bool differs(char *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool differs(char *reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason, PYE_REASON_BYTES, format, args);
    va_end(args);
    return false;
}

static bool variable_holds(const struct pye_word *word, char *reason)
{
    const char *value = getenv(word->name), *reader = *word->place == '\0' ? "python or a library" : word->place;
    if (word->kind == PYE_WORD_UNSET && value != NULL)
        return differs(reason, "%s is set, and was not when %s looked for it", word->name, reader);
    if (word->kind == PYE_WORD_SET && value == NULL)
        return differs(reason, "%s is not set, and was when %s read it", word->name, reader);
    if (word->kind == PYE_WORD_SET && strcmp(value, word->value) != 0)
        return differs(reason, "%s differs from what %s read", word->name, reader);
    return true;
}

static bool file_holds(const struct pye_word *word, char *reason)
{
    int mode = (strchr(word->name, 'r') != NULL ? R_OK : 0) | (strchr(word->name, 'w') != NULL ? W_OK : 0);
    return access(word->value, mode) == 0
           || differs(reason, "%s, which it needs: %s", word->value, strerror(errno));
}

static bool number_holds(const struct pye_word *word, char *reason)
{
    struct rlimit limit;
    long number;
    if (!pye_parse_number(word->value, 0, INT_MAX, &number) || fcntl((int)number, F_GETFD) >= 0)
        return differs(reason, "descriptor %s, which it uses, is open already", word->value);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= (rlim_t)number + ON_THE_WAY)
        return differs(reason, "descriptor %s, which it uses, has no room below the limit on open files "
                       "(ulimit -n %llu)", word->value, (unsigned long long)limit.rlim_cur);
    return true;
}

/* in_bundle: the builder of the bundle said where it would be. */
static bool program_holds(const struct pye_word *word, const char *name, bool in_bundle, char *reason)
{
    char path[PATH_MAX];
    find_program(name, path);
    if (strcmp(path, word->value) == 0)
        return true;
    if (in_bundle)
        return differs(reason, "it was taken for %s, and this is %s: build with --at", word->value, path);
    return differs(reason, "it was taken by %s, and this is %s", word->value, path);
}

static bool word_holds(const struct pye_image *image, const struct pye_word *word, char **argv, char *reason)
{
    char options[PYE_OPTIONS_BYTES];
    bool target;
    switch (word->kind) {
    case PYE_WORD_PROGRAM:
        return program_holds(word, argv[0], image->base != 0, reason);
    case PYE_WORD_OPTIONS:
        if (argv[0] == NULL || argv[1] == NULL)
            return true; /* the command line is the snapshot's */
        if (!pye_python_options(argv, options, &target))
            return differs(reason, "python's options are too long to compare");
        return strcmp(options, word->value) == 0
               || differs(reason, "it was taken with python's options '%s', and these are '%s'", word->value, options);
    case PYE_WORD_SET:
    case PYE_WORD_UNSET:
        return variable_holds(word, reason);
    case PYE_WORD_NUMBER:
        return number_holds(word, reason);
    case PYE_WORD_FILE:
        return file_holds(word, reason);
    default:
        return differs(reason, "it is damaged: it has a word of an unknown kind");
    }
}

/* Whether a variable that nobody sees being read was there already. */
static bool was_set(const struct pye_image *image, const char *variable)
{
    const char *at = NULL;
    size_t length = strcspn(variable, "=");
    struct pye_word word;
    while (pye_image_next_word(image, &at, &word)) {
        if (word.kind == PYE_WORD_SET && strlen(word.name) == length && strncmp(word.name, variable, length) == 0)
            return true;
    }
    return false;
}

static bool machine_holds(const struct pye_image *image, char *reason)
{
    struct pye_machine machine;
    uint64_t start, end;
    const char *what;
    if (!pye_machine_find(&machine, &what))
        return differs(reason, "%s has no build id to compare", what);
    what = pye_machine_differs(&image->header.machine, &machine);
    if (what != NULL)
        return differs(reason, "%s", what);
    pye_machine_program(&start, &end);
    if (image->header.program_start != start || image->header.program_end != end)
        return differs(reason, "it was taken by another build of pyentry");
    return true;
}

bool pye_conditions_hold(const struct pye_image *image, char **argv, char reason[PYE_REASON_BYTES])
{
    return machine_holds(image, reason) && pye_conditions_words_hold(image, argv, reason);
}

bool pye_conditions_words_hold(const struct pye_image *image, char **argv, char reason[PYE_REASON_BYTES])
{
    const char *at = NULL;
    struct pye_word word;
    while (pye_image_next_word(image, &at, &word)) {
        if (!word_holds(image, &word, argv, reason))
            return false;
    }
    for (char **variable = environ; *variable != NULL; variable++) {
        if (is_unseen(*variable) && !was_set(image, *variable))
            return differs(reason, "%.*s is set, and was not when it was taken", (int)strcspn(*variable, "="),
                           *variable);
    }
    return true;
}

#endif
