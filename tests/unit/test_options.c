/* launcher/options: the command line, the environment, and which of them wins. */
#include "tests/unit/check.h"

#include "launcher/options.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pye_options options;
static char *arguments[16];
static int count;
static char complaint[512];

/* Reads a command line, a NULL at its end, and keeps what is said on stderr. */
static enum pye_action read_line(char *first, ...)
{
    int pipes[2], saved = dup(STDERR_FILENO);
    va_list words;

    count = 0;
    arguments[count++] = (char *)"pyentry";
    va_start(words, first);
    for (char *word = first; word != NULL; word = va_arg(words, char *))
        arguments[count++] = word;
    va_end(words);
    arguments[count] = NULL;

    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    dup2(pipes[1], STDERR_FILENO);
    enum pye_action action = pye_options_read(&options, &count, arguments);
    dup2(saved, STDERR_FILENO);
    ssize_t length = read(pipes[0], complaint, sizeof complaint - 1);
    complaint[length < 0 ? 0 : length] = '\0';
    close(saved);
    close(pipes[0]);
    close(pipes[1]);
    return action;
}

#define READ(...) read_line(__VA_ARGS__, (char *)NULL)

static int clean(void **state)
{
    static const char *const names[] = {"INIT", "FORWARD", "SIGNAL_MAP", "STOP_REPORT", "TERM_STATUS", "FAULTHANDLER",
                                        "CPUS", "LOG_FORMAT", "RESTORE"};
    char variable[64] = "PYENTRY_";
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        strncpy(variable + 8, names[i], sizeof variable - 9);
        unsetenv(variable);
    }
    return 0;
}

static void defaults(void **state)
{
    (void)state;
    assert_int_equal(READ((char *)"-c", (char *)"pass"), PYE_RUN);
    assert_int_equal(options.init, PYE_INIT_AUTO);
    assert_int_equal(options.python.forward, PYE_FORWARD_AUTO);
    assert_int_equal(options.python.stop_report, 8000);
    assert_int_equal(options.python.term_status, PYE_BY_SIGNAL);
    assert_int_equal(options.python.faulthandler, PYE_ON);
    assert_int_equal(options.python.signal_map.to[SIGTERM], SIGTERM);
    assert_int_equal(count, 3);
    assert_string_equal(complaint, "");
}

static void taken_out(void **state)
{
    (void)state;
    assert_int_equal(READ((char *)"--forward=group", (char *)"--stop-report", (char *)"2m", (char *)"-m",
                          (char *)"app", (char *)"--forward=main"),
                     PYE_RUN);
    assert_int_equal(options.python.forward, PYE_FORWARD_GROUP);
    assert_int_equal(options.python.stop_report, 120000);
    assert_int_equal(count, 4);
    assert_string_equal(arguments[1], "-m");
    assert_string_equal(arguments[3], "--forward=main");
    assert_null(arguments[4]);
    /* A Python started from here on behaves the same. */
    assert_string_equal(getenv("PYENTRY_FORWARD"), "group");
    assert_string_equal(getenv("PYENTRY_STOP_REPORT"), "2m");
}

static void command_line_wins(void **state)
{
    (void)state;
    setenv("PYENTRY_TERM_STATUS", "7", 1);
    assert_int_equal(READ((char *)"x.py"), PYE_RUN);
    assert_int_equal(options.python.term_status, 7);
    setenv("PYENTRY_TERM_STATUS", "nonsense", 1);
    assert_int_equal(READ((char *)"--term-status=9", (char *)"x.py"), PYE_RUN);
    assert_int_equal(options.python.term_status, 9);
    setenv("PYENTRY_TERM_STATUS", "", 1);
    assert_int_equal(READ((char *)"x.py"), PYE_RUN);
    assert_int_equal(options.python.term_status, PYE_BY_SIGNAL);
}

static void bad_values(void **state)
{
    static const struct {
        const char *argument, *named;
    } cases[] = {
        {"--stop-report=86401s", "8s or 2m, at most 1440m"},
        {"--stop-report=8x", "--stop-report='8x'"},     {"--stop-report=", "--stop-report=''"},
        {"--forward=all", "--forward='all'"},           {"--forward=auto|main", "--forward='auto|main'"},
        {"--term-status=256", "--term-status='256'"},   {"--term-status=-1", "--term-status='-1'"},
        {"--signal-map=TERM", "--signal-map='TERM'"},   {"--faulthandler=yes", "--faulthandler='yes'"},
        {"--init=sometimes", "--init='sometimes'"},     {"--stop-report", "--stop-report needs a value"},
        {"--stop-reprot=8s", "mean --stop-report"},     {"--forwrd=main", "mean --forward"},
        {"--healthchekc", "mean --healthcheck"},        {"--healthcheck=x", "--healthcheck takes nothing behind"},
        {"--restore=", "--restore='' is not valid: it takes the path of a file, or none"},
        {"--hepl", "mean --help"},                      {"--version=", "--version takes nothing behind"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clean(NULL);
        if (READ((char *)cases[i].argument) != PYE_USAGE_ERROR || strstr(complaint, cases[i].named) == NULL
            || strncmp(complaint, "pyentry: ", 9) != 0)
            fail_msg("%s: '%s'", cases[i].argument, complaint);
    }
    clean(NULL);
    setenv("PYENTRY_STOP_REPORT", "soon", 1);
    assert_int_equal(READ((char *)"x.py"), PYE_USAGE_ERROR);
    assert_non_null(strstr(complaint, "PYENTRY_STOP_REPORT='soon'"));
}

static void empty_paths(void **state)
{
    (void)state;
    assert_int_equal(READ((char *)"--restore", (char *)"", (char *)"x.py"), PYE_USAGE_ERROR);
    setenv("PYENTRY_RESTORE", "", 1); /* counts as unset */
    assert_int_equal(READ((char *)"x.py"), PYE_RUN);
    assert_string_equal(options.restore, "");
}

static void left_to_python(void **state)
{
    static const char *const words[] = {"-", "--", "--check-hash-based-pycs", "--nonsense", "-X", "app.py"};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_int_equal(READ((char *)"--forward=main", (char *)words[i], (char *)"--term-status=x"), PYE_RUN);
        assert_string_equal(arguments[1], words[i]);
        assert_int_equal(count, 3);
    }
}

/* A command ends the options; what follows is its own, and no variable is looked at. */
static void commands(void **state)
{
    (void)state;
    setenv("PYENTRY_STOP_REPORT", "nonsense", 1);
    assert_int_equal(READ((char *)"--forward=main", (char *)"--healthcheck", (char *)"--timeout", (char *)"1s"),
                     PYE_HEALTHCHECK);
    assert_int_equal(count, 3);
    assert_string_equal(arguments[1], "--timeout");
    assert_string_equal(arguments[2], "1s");
    assert_null(arguments[3]);
    clean(NULL);
    assert_int_equal(READ((char *)"-B", (char *)"--healthcheck"), PYE_USAGE_ERROR);
    assert_int_equal(READ((char *)"-c", (char *)"pass", (char *)"--healthcheck"), PYE_RUN);
    assert_int_equal(READ((char *)"app.py", (char *)"--healthcheck"), PYE_RUN);
    assert_int_equal(READ((char *)"--stop-report=x", (char *)"--healthcheck"), PYE_USAGE_ERROR);
}

static void help_and_version(void **state)
{
    (void)state;
    assert_int_equal(READ((char *)"--version"), PYE_SHOW_VERSION);
    assert_int_equal(READ((char *)"--forward=main", (char *)"--help"), PYE_SHOW_HELP);
    assert_string_equal(arguments[1], "--help"); /* python shows its own */
    assert_int_equal(READ((char *)"app.py", (char *)"--help"), PYE_RUN);
}

/* Where each value comes from, as --info tells it. */
static void reports(void **state)
{
    struct pye_option_report report;
    size_t seen = 0;
    (void)state;
    setenv("PYENTRY_TERM_STATUS", "7", 1);
    setenv("PYENTRY_FORWARD", "nobody", 1);
    setenv("PYENTRY_CPUS", "", 1);
    assert_int_equal(READ((char *)"--stop-report=2s", (char *)"--info", (char *)"--json"), PYE_INFO);
    assert_string_equal(arguments[1], "--json");
    assert_int_equal(options.python.term_status, PYE_BY_SIGNAL);
    pye_options_take_environment(&options);
    assert_int_equal(options.python.term_status, 7);
    assert_int_equal(options.python.forward, PYE_FORWARD_AUTO);
    for (size_t i = 0; pye_options_report(&options, i, &report); i++) {
        if (strcmp(report.name, "stop-report") == 0) {
            assert_string_equal(report.value, "2s");
            assert_string_equal(report.variable, "PYENTRY_STOP_REPORT");
            assert_int_equal(report.from, PYE_FROM_COMMAND_LINE);
        } else if (strcmp(report.name, "term-status") == 0) {
            assert_string_equal(report.value, "7");
            assert_int_equal(report.from, PYE_FROM_VARIABLE);
        } else if (strcmp(report.name, "forward") == 0) {
            assert_non_null(report.takes);
            assert_int_equal(report.from, PYE_FROM_VARIABLE);
            continue;
        } else {
            assert_int_equal(report.from, PYE_FROM_DEFAULT);
        }
        assert_null(report.takes);
        seen++;
    }
    assert_true(seen > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults, clean),          cmocka_unit_test_setup(taken_out, clean),
        cmocka_unit_test_setup(command_line_wins, clean), cmocka_unit_test_setup(bad_values, clean),
        cmocka_unit_test_setup(empty_paths, clean),
        cmocka_unit_test_setup(left_to_python, clean),    cmocka_unit_test_setup(commands, clean),
        cmocka_unit_test_setup(help_and_version, clean),  cmocka_unit_test_setup(reports, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
