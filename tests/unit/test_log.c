/* launcher/log: an entry is one line that fits, whatever the text; the middle of a long one is left out. */
#include "tests/unit/check.h"

#include "launcher/log.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1000 * 1000 };

static void on_cloud_run(const char *service, const char *revision)
{
    unsetenv("K_SERVICE");
    unsetenv("K_REVISION");
    unsetenv("CLOUD_RUN_JOB");
    unsetenv("CLOUD_RUN_EXECUTION");
    unsetenv("CLOUD_RUN_WORKER_POOL");
    if (service != NULL)
        setenv("K_SERVICE", service, 1);
    if (revision != NULL)
        setenv("K_REVISION", revision, 1);
    pye_log_configure(PYE_LOG_AUTO);
}

static void assert_line(const struct pye_log_entry *entry, const char *expected)
{
    char out[PYE_LOG_LINE_BYTES];
    size_t length = pye_log_make(out, sizeof out, entry);
    if (length != strlen(expected) || memcmp(out, expected, length) != 0)
        fail_msg("expected %s, made %.*s", expected, (int)length, out);
}

static void formats(void **state)
{
    (void)state;
    on_cloud_run(NULL, NULL);
    assert_false(pye_log_is_json());
    pye_log_configure(PYE_LOG_JSON);
    assert_true(pye_log_is_json());
    on_cloud_run("", NULL); /* empty counts as unset */
    assert_false(pye_log_is_json());
    on_cloud_run("hello", NULL);
    assert_true(pye_log_is_json());
    pye_log_configure(PYE_LOG_TEXT);
    assert_false(pye_log_is_json());
    on_cloud_run(NULL, NULL);
    setenv("CLOUD_RUN_JOB", "nightly", 1);
    pye_log_configure(PYE_LOG_AUTO);
    assert_true(pye_log_is_json());
}

static void entries(void **state)
{
    struct pye_log_entry entry = {.severity = PYE_WARNING, .text = "a \"b\"\n", .length = 6};
    (void)state;
    on_cloud_run(NULL, NULL);
    pye_log_configure(PYE_LOG_JSON);
    assert_line(&entry, "{\"severity\":\"WARNING\",\"message\":\"a \\\"b\\\"\"}\n");
    entry.exception = true;
    entry.severity = PYE_ERROR;
    on_cloud_run("hello", "hello-1");
    assert_line(&entry, "{\"severity\":\"ERROR\",\"@type\":\"type.googleapis.com/google.devtools.clouderrorreporting."
                        "v1beta1.ReportedErrorEvent\",\"serviceContext\":{\"service\":\"hello\",\"version\":\"hello-1\"},"
                        "\"message\":\"a \\\"b\\\"\"}\n");
    entry = (struct pye_log_entry){.severity = PYE_CRITICAL, .text = ""};
    on_cloud_run("a\"b\xff", NULL);
    assert_line(&entry, "{\"severity\":\"CRITICAL\",\"serviceContext\":{\"service\":\"a\\\"b\xef\xbf\xbd\"},"
                        "\"message\":\"\"}\n");
}

/* A name that Cloud Run cannot have given is left out. */
static void foreign_names(void **state)
{
    static char name[10000];
    struct pye_log_entry entry = {.text = "x", .length = 1};
    (void)state;
    memset(name, 1, sizeof name - 1);
    on_cloud_run(name, name);
    assert_true(pye_log_is_json());
    assert_line(&entry, "{\"severity\":\"WARNING\",\"message\":\"x\"}\n");
}

static void assert_fits(size_t room, const char *unit)
{
    char *text = malloc(TEXT_BYTES), *out = malloc(room);
    size_t length = 0, width = strlen(unit);
    assert_true(text != NULL && out != NULL);
    while (length + width <= TEXT_BYTES)
        length += (size_t)((char *)mempcpy(text + length, unit, width) - text) - length;
    struct pye_log_entry entry = {.severity = PYE_ERROR, .exception = true, .text = text, .length = length};
    size_t made = pye_log_make(out, room, &entry);
    assert_true(made <= room && made > room - 64);
    assert_memory_equal(out + made - 3, "\"}\n", 3);
    assert_null(memchr(out, '\n', made - 1));
    assert_non_null(memmem(out, made, "\\n[... ", 7));
    assert_non_null(memmem(out, made, " bytes left out ...]\\n", 21));
    free(text);
    free(out);
}

static void long_texts(void **state)
{
    static const char *const units[] = {"a", "\n", "\x01", "\xff", "\xe2\x82\xac", "\"", "\xf0\x9f\x90\x8d\x01", "ab\n"};
    (void)state;
    on_cloud_run("hello", "hello-1");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        assert_fits(PYE_LOG_LINE_BYTES, units[i]);
        assert_fits(PYE_LOG_ENTRY_BYTES, units[i]);
    }
}

/* What just fits is whole. */
static void the_longest_whole_text(void **state)
{
    static char text[PYE_LOG_LINE_BYTES], out[PYE_LOG_LINE_BYTES];
    struct pye_log_entry entry = {.severity = PYE_ERROR, .text = text};
    (void)state;
    on_cloud_run(NULL, NULL);
    memset(text, 'a', sizeof text);
    size_t frame = pye_log_make(out, sizeof out, &entry);
    entry.length = sizeof out - frame;
    assert_int_equal(pye_log_make(out, sizeof out, &entry), sizeof out);
    assert_null(memmem(out, sizeof out, "left out", 8));
    entry.length++;
    assert_true(pye_log_make(out, sizeof out, &entry) <= sizeof out);
    assert_non_null(memmem(out, sizeof out, "left out", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),       cmocka_unit_test(entries),    cmocka_unit_test(foreign_names),
        cmocka_unit_test(long_texts),    cmocka_unit_test(the_longest_whole_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
