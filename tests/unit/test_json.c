/* launcher/json: valid JSON whatever the bytes, and never a byte behind the buffer. */
#include "tests/unit/check.h"

#include "launcher/json.h"

#include <stdlib.h>
#include <string.h>

static void assert_string(const char *text, size_t length, const char *expected)
{
    char out[256];
    struct pye_json json = {.out = out, .room = sizeof out};
    pye_json_string(&json, text, length);
    if (json.length != strlen(expected) || memcmp(out, expected, json.length) != 0)
        fail_msg("expected %s, made %.*s", expected, (int)json.length, out);
}

static void strings(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain text", "\"plain text\""},
        {"\"quoted\" \\ /", "\"\\\"quoted\\\" \\\\ /\""},
        {"a\nb\r\t\b\f", "\"a\\nb\\r\\t\\b\\f\""},
        {"\x01\x1f\x1b[31m\x7f", "\"\\u0001\\u001f\\u001b[31m\x7f\""},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d", "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d\""},
        {"\xe2\x80\xa8\xef\xbf\xbf\xf4\x8f\xbf\xbf", "\"\xe2\x80\xa8\xef\xbf\xbf\xf4\x8f\xbf\xbf\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string(cases[i].text, strlen(cases[i].text), cases[i].json);
    assert_string("a\0b", 3, "\"a\\u0000b\"");
}

/* As many U+FFFD as bytes.decode("utf-8", "replace") gives. */
static void what_is_not_utf8(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"\xff\xfe", "\"??\""},
        {"a\x80z", "\"a?z\""},
        {"\xc0\xaf", "\"??\""},             /* longer than need be */
        {"\xe0\x80\x80", "\"???\""},
        {"\xf0\x80\x80\x80", "\"????\""},
        {"\xed\xa0\x80", "\"???\""},        /* a surrogate */
        {"\xf4\x90\x80\x80", "\"????\""},   /* above U+10FFFF */
        {"\xf5\x80", "\"??\""},
        {"\xe2\x82", "\"?\""},              /* cut off */
        {"\xf0\x9f\x90", "\"?\""},
        {"\xc3", "\"?\""},
        {"\xe2\x82z", "\"?z\""},
        {"\xc3\"", "\"?\\\"\""},            /* the quote is no part of it */
        {"\xf0\x9f\n", "\"?\\n\""},
        {"\xe2\xe2\x82\xac", "\"?\xe2\x82\xac\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[64] = "", *end = expected;
        for (const char *c = cases[i].json; *c != '\0'; c++) {
            if (*c == '?')
                end = mempcpy(end, "\xef\xbf\xbd", 3);
            else
                *end++ = *c;
        }
        assert_string(cases[i].text, strlen(cases[i].text), expected);
    }
}

static void numbers(void **state)
{
    char out[80];
    struct pye_json json = {.out = out, .room = sizeof out};
    (void)state;
    pye_json_number(&json, 0);
    pye_json_raw(&json, " ");
    pye_json_number(&json, -7);
    pye_json_raw(&json, " ");
    pye_json_number(&json, INT64_MAX);
    pye_json_raw(&json, " ");
    pye_json_number(&json, INT64_MIN);
    static const char expected[] = "0 -7 9223372036854775807 -9223372036854775808";
    assert_int_equal(json.length, sizeof expected - 1);
    assert_memory_equal(out, expected, json.length);
}

/* Each buffer is exactly as large as it says: the sanitizers see a byte too many. */
static void too_little_room(void **state)
{
    static const char text[] = "a\"\x01\xff\xe2\x82\xac\n", whole[] = "\"a\\\"\\u0001\xef\xbf\xbd\xe2\x82\xac\\n\"";
    (void)state;
    for (size_t room = 0; room <= sizeof whole; room++) {
        char *out = malloc(room + 1);
        assert_non_null(out);
        out[room] = 'x';
        struct pye_json json = {.out = room == 0 ? NULL : out, .room = room};
        pye_json_string(&json, text, sizeof text - 1);
        assert_int_equal(json.length, sizeof whole - 1);
        assert_memory_equal(out, whole, room < sizeof whole - 1 ? room : sizeof whole - 1);
        assert_int_equal(out[room], 'x');
        free(out);
    }
}

static void prefixes(void **state)
{
    static const char text[] = "a\n\x01\xe2\x82\xacz"; /* becomes 1, 2, 6, 3 and 1 */
    static const size_t fit[] = {0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 6, 7, 7};
    (void)state;
    for (size_t room = 0; room < sizeof fit / sizeof *fit; room++)
        assert_int_equal(pye_json_prefix(text, sizeof text - 1, room), fit[room]);
    assert_int_equal(pye_json_prefix("", 0, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(what_is_not_utf8),
        cmocka_unit_test(numbers),
        cmocka_unit_test(too_little_room),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
