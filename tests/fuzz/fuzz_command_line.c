/* launcher/options and launcher/values: a command line, its words ended by NULs. Words that begin with PYENTRY_ are
 * the environment. What a health check is given goes through launcher/url too. */
#include "tests/fuzz/fuzz.h"

#include "launcher/options.h"
#include "launcher/url.h"

#include <unistd.h>

enum { WORDS = 24, VARIABLES = 24, DAY = 24 * 60 * 60 * 1000 };

static char *variables[VARIABLES + 1];

static void put(char *assignment)
{
    size_t length = strcspn(assignment, "="), i = 0;
    while (variables[i] != NULL && (strncmp(variables[i], assignment, length) != 0 || variables[i][length] != '='))
        i++;
    if (i == VARIABLES) {
        free(assignment);
        return;
    }
    free(variables[i]);
    variables[i] = assignment;
}

/* In the place of the C library's, which keeps each value it ever saw. */
int setenv(const char *name, const char *value, int replace)
{
    char *assignment;
    (void)replace;
    if (asprintf(&assignment, "%s=%s", name, value) >= 0)
        put(assignment);
    return 0;
}

static void check_options(const struct pye_options *options)
{
    MUST(options->init >= PYE_INIT_AUTO && options->init <= PYE_INIT_NEVER);
    MUST(options->stop_timeout >= 0 && options->stop_timeout <= DAY);
    MUST(options->python.stop_report >= 0 && options->python.stop_report <= DAY);
    MUST(options->python.term_status >= PYE_BY_SIGNAL && options->python.term_status <= 255);
    for (int number = 1; number < PYE_SIGNALS; number++)
        MUST(options->python.signal_map.to[number] < PYE_SIGNALS);
}

/* What goes into a request is one line's part, and no more. */
static void check_url(const char *word)
{
    static struct pye_url url;
    if (pye_url_parse(word, &url) != NULL)
        return;
    MUST(url.host[0] != '\0' && memchr(url.host, '\0', sizeof url.host) != NULL);
    MUST((url.port == 0) == (url.scheme == PYE_UNIX));
    for (const char *byte = url.authority; *byte != '\0'; byte++)
        MUST(*byte > ' ' && *byte < 0x7f);
    MUST(url.scheme == PYE_TCP || url.target[0] == '/');
    for (const char *byte = url.target; *byte != '\0'; byte++)
        MUST(*byte > ' ' && *byte < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char program[] = "pyentry";
    struct pye_options options;
    char *argv[WORDS + 1] = {program};
    int argc = 1;
    char *text = expand(data, &size);

    environ = variables;
    for (char *word = text; word < text + size && argc < WORDS; word += strlen(word) + 1) {
        if (strncmp(word, "PYENTRY_", 8) == 0 && strchr(word, '=') != NULL)
            put(strdup(word));
        else
            argv[argc++] = word;
    }
    enum pye_action action = pye_options_read(&options, &argc, argv);
    MUST(argc >= 1 && argc <= WORDS && argv[0] == program);
    if (action != PYE_USAGE_ERROR)
        MUST(argv[argc] == NULL);
    if (action == PYE_RUN)
        check_options(&options);
    if (action == PYE_HEALTHCHECK) {
        for (int i = 1; i < argc; i++)
            check_url(argv[i]);
    }
    for (size_t i = 0; variables[i] != NULL; i++) {
        free(variables[i]);
        variables[i] = NULL;
    }
    free(text);
    return 0;
}
