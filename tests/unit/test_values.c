/* launcher/values: each parser takes the whole string or refuses it, and leaves the result alone then. */
#include "tests/unit/check.h"

#include "launcher/values.h"

#include <signal.h>
#include <string.h>

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t milliseconds; /* -1: refused */
    } cases[] = {
        {"500ms", 500}, {"8s", 8000}, {"2m", 120000}, {"0", 0}, {"0s", 0}, {"0ms", 0}, {"008s", 8000},
        {"24h", -1}, {"8", -1}, {"", -1}, {"s", -1}, {"ms", -1}, {"-1s", -1}, {"+1s", -1}, {" 1s", -1},
        {"1s ", -1}, {"1.5s", -1}, {"1S", -1}, {"1 s", -1}, {"0x1s", -1}, {"1440m", 86400000}, {"1441m", -1},
        {"86400s", 86400000}, {"99999999999999999999s", -1}, {"9223372036854775807m", -1},
        {"00000000000000000000000000000000000000001s", 1000}, {"1sm", -1}, {"1s\n", -1}, {"\xff", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = -1;
        bool taken = pye_parse_duration(cases[i].text, &value);
        if (taken != (cases[i].milliseconds >= 0) || value != cases[i].milliseconds)
            fail_msg("'%s': %d, %lld", cases[i].text, taken, (long long)value);
    }
}

static void numbers(void **state)
{
    static const char *const refused[] = {"", " 1", "1 ", "-1", "+1", "256", "1x", "0x10", "1e1",
                                          "99999999999999999999999999"};
    long value = -7;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_false(pye_parse_number(refused[i], 0, 255, &value));
    assert_int_equal(value, -7);
    assert_true(pye_parse_number("0", 0, 255, &value));
    assert_int_equal(value, 0);
    assert_true(pye_parse_number("255", 0, 255, &value));
    assert_int_equal(value, 255);
}

static void signal_names(void **state)
{
    static const char *const refused[] = {"",       "SIG",     "0",       "65",     "-15",     "TERM ",  "TERMX",
                                          "RTMIN+", "RTMIN-1", "RTMAX+1", "RTMIN+99", "RTMINX", "SIGSIGTERM"};
    int number = -7;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (pye_parse_signal(refused[i], &number))
            fail_msg("'%s' was taken for %d", refused[i], number);
    }
    assert_int_equal(number, -7);
    assert_true(pye_parse_signal("TERM", &number) && number == SIGTERM);
    assert_true(pye_parse_signal("SIGTERM", &number) && number == SIGTERM);
    assert_true(pye_parse_signal("sigquit", &number) && number == SIGQUIT);
    assert_true(pye_parse_signal("15", &number) && number == 15);
    assert_true(pye_parse_signal("RTMIN", &number) && number == SIGRTMIN);
    assert_true(pye_parse_signal("SIGRTMIN+3", &number) && number == SIGRTMIN + 3);
    assert_true(pye_parse_signal("RTMAX-1", &number) && number == SIGRTMAX - 1);
}

static void signal_maps(void **state)
{
    static const struct {
        const char *text, *pair, *why;
    } refused[] = {
        {"", "", "equals sign"},
        {"TERM", "TERM", "equals sign"},
        {"TERM=", "TERM=", "the second is neither"},
        {"=TERM", "=TERM", "the first is no signal"},
        {"TERM=QUIT,", "", "equals sign"},
        {",TERM=QUIT", "", "equals sign"},
        {"HUP=0,TERM=NOPE", "TERM=NOPE", "the second is neither"},
        {"TERM=QUIT,KILL=TERM", "KILL=TERM", "cannot be caught"},
        {"STOP=0", "STOP=0", "cannot be caught"},
        {"SEGV=0", "SEGV=0", "a fault"},
        {"16=TERM", "16=TERM", "the first is what the stop report"},
        {"33=TERM", "33=TERM", "the first is the C library's"},
        {"TERM=STOP", "TERM=STOP", "for good"},
        {"TERM=STKFLT", "TERM=STKFLT", "the second is what the stop report"},
        {"TERM=32", "TERM=32", "the second is the C library's"},
        {"TERM=QUIT,TERM=INT", "TERM=INT", "already"},
        {"TERM=QUIT=INT", "TERM=QUIT=INT", "the second is neither"},
        {"TERM = QUIT", "TERM = QUIT", "the first is no signal"},
        {"TERM=QUIT;HUP=0", "TERM=QUIT;HUP=0", "the second is neither"},
    };
    struct pye_signal_map map;
    struct pye_pair wrong;
    (void)state;
    pye_signal_map_clear(&map);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (pye_parse_signal_map(refused[i].text, &map, &wrong))
            fail_msg("'%s' was taken", refused[i].text);
        assert_int_equal(wrong.length, strlen(refused[i].pair));
        assert_memory_equal(wrong.text, refused[i].pair, (size_t)wrong.length);
        if (strstr(wrong.why, refused[i].why) == NULL)
            fail_msg("'%s': %s", refused[i].text, wrong.why);
    }
    for (int i = 0; i < PYE_SIGNALS; i++)
        assert_int_equal(map.to[i], i);
    assert_true(pye_parse_signal_map("TERM=QUIT,HUP=0,INT=KILL", &map, &wrong));
    for (int i = 0; i < PYE_SIGNALS; i++) {
        int to = i == SIGTERM ? SIGQUIT : i == SIGHUP ? 0 : i == SIGINT ? SIGKILL : i;
        assert_int_equal(map.to[i], to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(numbers),
        cmocka_unit_test(signal_names),
        cmocka_unit_test(signal_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
