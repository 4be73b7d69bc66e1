#include "embed/bundle/commandline.h"

#include "embed/embed.h"
#include "launcher/log.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- whose it is --- */

/* Python's options without a value. The ones that lead to python by themselves are those that the
 * standard library and its peers put in front when they start sys.executable; the others (-v, -i, -q ...) are an app's
 * unless one of those follows. */
static const char plain_flags[] = "bBdEiIOPqRsSuvx", leading_flags[] = "cmIBSuXWEs";

enum pye_bundle_name pye_bundle_called(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    if (strcmp(name, "pyentry") == 0)
        return PYE_CALLED_PYENTRY;
    bool is_python = strncmp(name, "python", 6) == 0 && name[6 + strspn(name + 6, "0123456789.")] == '\0';
    return is_python ? PYE_CALLED_PYTHON : PYE_CALLED_OTHERWISE;
}

static bool is_below(const struct pye_bundle *bundle, const char *path)
{
    return strncmp(path, bundle->root, bundle->root_length) == 0 && path[bundle->root_length] == '/';
}

bool pye_bundle_asks_for_python(const struct pye_bundle *bundle, int argc, char *const *argv)
{
    if (argc > 1 && is_below(bundle, argv[1])) /* `sys.executable, __file__` */
        return true;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '-' || word[1] == '\0')
            return false;
        for (const char *flag = word + 1; *flag != '\0'; flag++) {
            if (strchr(leading_flags, *flag) != NULL)
                return true;
            if (strchr(plain_flags, *flag) == NULL)
                return false;
        }
    }
    return false;
}

/* --- expansion --- */

struct text {
    char *bytes;
    size_t length, room;
};

static bool append(struct text *text, const char *bytes, size_t length)
{
    if (text->length + length + 1 > text->room) {
        size_t room = (text->length + length + 1) * 2;
        char *larger = realloc(text->bytes, room);
        if (larger == NULL)
            return false;
        text->bytes = larger;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return true;
}

static size_t name_length(const char *at, size_t room)
{
    size_t length = 0;
    while (length < room && (isalnum((unsigned char)at[length]) || at[length] == '_'))
        length++;
    return length;
}

/* at: behind "${". Appends the variable's value and returns how long the rest up to "}" is, or 0. */
static size_t append_variable(struct text *text, const char *at, size_t room, char *missing, size_t missing_bytes)
{
    size_t name = name_length(at, room);
    const char *end = memchr(at, '}', room);
    if (name == 0 || name >= missing_bytes || end == NULL)
        return 0;
    memcpy(missing, at, name);
    missing[name] = '\0';
    const char *value = getenv(missing), *otherwise = at + name + 2;
    bool has_otherwise = end >= otherwise && memcmp(at + name, ":-", 2) == 0;
    if (!has_otherwise && at + name != end)
        return 0;
    /* As in a shell, ":-" takes an empty variable for an unset one. */
    bool is_set = value != NULL && (!has_otherwise || *value != '\0');
    if (!is_set && !has_otherwise)
        return 0;
    bool done = is_set ? append(text, value, strlen(value)) : append(text, otherwise, (size_t)(end - otherwise));
    return done ? (size_t)(end - at) + 1 : 0;
}

char *pye_bundle_expand(const char *text, size_t length, char *missing, size_t missing_bytes)
{
    struct text result = {0};
    size_t i = 0;
    bool whole = append(&result, "", 0);
    while (whole && i < length) {
        const char *dollar = memchr(text + i, '$', length - i);
        size_t literal = dollar == NULL ? length - i : (size_t)(dollar - text) - i;
        whole = append(&result, text + i, literal);
        i += literal;
        if (!whole || dollar == NULL)
            continue;
        if (i + 1 < length && text[i + 1] == '{') {
            size_t rest = append_variable(&result, text + i + 2, length - i - 2, missing, missing_bytes);
            whole = rest > 0;
            i += 2 + rest;
        } else {
            whole = append(&result, "$", 1);
            i += i + 1 < length && text[i + 1] == '$' ? 2 : 1;
        }
    }
    if (whole)
        return result.bytes;
    free(result.bytes);
    return NULL;
}

char *pye_bundle_expanded(const char *text, size_t length)
{
    char missing[256] = "?";
    char *expanded = pye_bundle_expand(text, length, missing, sizeof missing);
    if (expanded == NULL)
        pye_log("this bundle's '%.*s' needs the variable %s, which is not set", (int)length, text, missing);
    return expanded;
}

/* --- arguments --- */

bool pye_bundle_build(int *argc, char ***argv)
{
    /* The machine's own Python does the work, undisturbed by what is set or lies around. It is not -I that does it, since
     * the order of sets must be the same in every build: before 3.11 it is seen in the code of a module. */
    static char *const python[] = {
        (char *)"-sSBc", (char *)"import sys; del sys.path[0]; from pyentry.bundler import main; main()"};
    enum { WORDS = sizeof python / sizeof *python };
    for (char **variable = environ; *variable != NULL;) {
        char *name = strncmp(*variable, "PYTHON", 6) == 0 ? strndup(*variable, strcspn(*variable, "=")) : NULL;
        if (name == NULL) {
            variable++;
        } else {
            unsetenv(name); /* the next one takes its place */
            free(name);
        }
    }
    if (setenv("PYTHONHASHSEED", "0", 1) < 0)
        return false;
    char **words = calloc((size_t)*argc + WORDS + 1, sizeof *words);
    if (words == NULL)
        return false;
    words[0] = (*argv)[0];
    memcpy(words + 1, python, sizeof python);
    memcpy(words + 1 + WORDS, *argv + 1, (size_t)(*argc - 1) * sizeof *words);
    *argc += WORDS;
    *argv = words;
    return true;
}

static int count_lines(const struct pye_bundle *bundle, const char *key)
{
    size_t at = 0, length;
    int count = 0;
    while (pye_bundle_line(bundle, key, &at, &length) != NULL)
        count++;
    return count;
}

bool pye_bundle_arguments(struct pye_bundle *bundle, int *argc, char ***argv)
{
    char **given = *argv;
    size_t at = 0, length;
    int count = 0, from = 1, more = 0;
    if (bundle->runs_app) {
        /* `sys.executable, *sys.argv` starts an app again: its own path is not an argument. */
        if (from < *argc && strcmp(given[from], bundle->executable) == 0)
            from++;
        more = from >= *argc ? count_lines(bundle, "arg") : 0;
        /* Behind it all is the app's, even if it looks like an option of python. */
        if (from < *argc && strcmp(given[from], "--") == 0)
            from++;
    }
    char **words = calloc((size_t)*argc + (size_t)more + 2, sizeof *words);
    if (words == NULL)
        return false;
    words[count++] = bundle->executable;
    while (from < *argc)
        words[count++] = given[from++];
    for (; more > 0; more--) {
        const char *line = pye_bundle_line(bundle, "arg", &at, &length);
        words[count] = line == NULL ? NULL : pye_bundle_expanded(line, length);
        if (words[count++] == NULL) {
            free(words);
            return false;
        }
    }
    *argc = count;
    *argv = words;
    return true;
}
