/* launcher/url: what a health check may be given, and why the rest is refused. */
#include "tests/unit/check.h"

#include "launcher/url.h"

#include <string.h>

static struct pye_url url;

static void taken(void **state)
{
    static const struct {
        const char *text;
        enum pye_scheme scheme;
        unsigned port;
        const char *host, *authority, *target;
    } cases[] = {
        {"http://127.0.0.1:8080/", PYE_HTTP, 8080, "127.0.0.1", "127.0.0.1:8080", "/"},
        {"http://app", PYE_HTTP, 80, "app", "app", "/"},
        {"HTTP://my_app.local:80/a/b?c=d&e", PYE_HTTP, 80, "my_app.local", "my_app.local", "/a/b?c=d&e"},
        {"Http://My_App:08080", PYE_HTTP, 8080, "my_app", "My_App:08080", "/"},
        {"http://app?x", PYE_HTTP, 80, "app", "app", "/?x"},
        {"http://app#top", PYE_HTTP, 80, "app", "app", "/"},
        {"http://app/a%20b#top", PYE_HTTP, 80, "app", "app", "/a%20b"},
        {"http://app/@me:80", PYE_HTTP, 80, "app", "app", "/@me:80"},
        {"http://[::1]/x", PYE_HTTP, 80, "::1", "[::1]", "/x"},
        {"http://[::1]:65535", PYE_HTTP, 65535, "::1", "[::1]:65535", "/"},
        {"http://[::ffff:10.0.0.1]:1/", PYE_HTTP, 1, "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:1", "/"},
        {"tcp://db:5432", PYE_TCP, 5432, "db", "", ""},
        {"tcp://[::]:1", PYE_TCP, 1, "::", "", ""},
        {"unix:/run/app.sock", PYE_UNIX, 0, "/run/app.sock", "localhost", "/"},
        {"unix:///run/app.sock", PYE_UNIX, 0, "/run/app.sock", "localhost", "/"},
        {"unix:@app:/live", PYE_UNIX, 0, "@app", "localhost", "/live"},
        {"unix:app.sock", PYE_UNIX, 0, "app.sock", "localhost", "/"},
        {"unix://app.sock", PYE_UNIX, 0, "app.sock", "localhost", "/"},
        {"unix:/run/app.sock:/live?x#y", PYE_UNIX, 0, "/run/app.sock", "localhost", "/live?x"},
        {"unix:/run/a:b.sock:/:/", PYE_UNIX, 0, "/run/a:b.sock", "localhost", "/:/"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = pye_url_parse(cases[i].text, &url);
        if (why != NULL)
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(url.scheme, cases[i].scheme);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_string_equal(url.authority, cases[i].authority);
        assert_string_equal(url.target, cases[i].target);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "begins with none of"},
        {"127.0.0.1:8080/", "begins with none of"},
        {"http:/app/", "begins with none of"},
        {"ftp://app/", "begins with none of"},
        {"https://app/", "no TLS"},
        {"HTTPS://app/", "no TLS"},
        {"http://", "neither a name nor an address"},
        {"http://:80/", "neither a name nor an address"},
        {"http:///x", "neither a name nor an address"},
        {"http://a b/", "neither a name nor an address"},
        {"http://a\r\nb/", "neither a name nor an address"},
        {"http://caf\xc3\xa9/", "neither a name nor an address"},
        {"http://::1/", "neither a name nor an address"},
        {"http://me:secret@app/", "a user name or a password"},
        {"http://me@app", "a user name or a password"},
        {"http://app:/", "port"},
        {"http://app:0/", "port"},
        {"http://app:65536/", "port"},
        {"http://app:80 80/", "port"},
        {"http://app:+80/", "port"},
        {"http://app:000000080/", "port"},
        {"http://[::1/", "no ]"},
        {"http://[]/", "no IPv6 address"},
        {"http://[127.0.0.1]/", "no IPv6 address"},
        {"http://[fe80::1%25eth0]/", "no IPv6 address"},
        {"http://[::1]80/", "no :port"},
        {"http://app/a b", "%XX"},
        {"http://app/\r\nHost: x", "%XX"},
        {"http://app/\x7f", "%XX"},
        {"http://app/caf\xc3\xa9", "%XX"},
        {"tcp://db", "no port"},
        {"tcp://db:5432/", "nothing may follow"},
        {"tcp://:5432", "neither a name nor an address"},
        {"unix:", "no socket"},
        {"unix://", "no socket"},
        {"unix::/x", "no socket"},
        {"unix:/run/app.sock:/a b", "%XX"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = pye_url_parse(cases[i].text, &url);
        if (why == NULL || strstr(why, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].text, why == NULL ? "taken" : why);
    }
}

/* The longest of each that is taken, and one more. */
static void lengths(void **state)
{
    static const struct {
        const char *before, *after, *why;
        size_t longest;
    } cases[] = {
        {"http://", "/", "its host is too long", PYE_HOST_BYTES - 1},
        {"http://app/", "", "its path is too long", PYE_TARGET_BYTES - 2},
        {"http://app?", "", "its path is too long", PYE_TARGET_BYTES - 3},
        {"unix:/", ":/", "107 bytes", 106},
    };
    char text[PYE_TARGET_BYTES + 64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t more = 0; more <= 1; more++) {
            size_t length = strlen(cases[i].before), middle = cases[i].longest + more;
            memcpy(text, cases[i].before, length);
            memset(text + length, 'a', middle);
            strncpy(text + length + middle, cases[i].after, 8);
            const char *why = pye_url_parse(text, &url);
            if (more == 0 ? why != NULL : why == NULL || strstr(why, cases[i].why) == NULL)
                fail_msg("%s with %zu bytes: %s", cases[i].before, middle, why == NULL ? "taken" : why);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(refused),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
