/* launcher/conditions and launcher/maps: python's options in one form, words told and held, the lines of a map. */
#include "tests/unit/check.h"

#include "launcher/conditions.h"
#include "launcher/maps.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if PYE_SNAPSHOTS

static void options_of_python(void **state)
{
    static const struct {
        const char *argv[8], *text;
        bool target;
    } cases[] = {
        {{"p"}, "", false},
        {{"p", "-c", "-O"}, "", true},
        {{"p", "-O", "-m", "a", "-S"}, "-O", true},
        {{"p", "-OO", "-B", "prog.py", "-s"}, "-O -O -B", true},
        {{"p", "-u", "-Ou", "-"}, "-O", true},
        {{"p", "-X", "dev", "-Xutf8", "x"}, "-X dev -X utf8", true},
        {{"p", "-BWerror", "-W", "ignore", "x"}, "-B -W error -W ignore", true},
        {{"p", "-Imapp", "x"}, "-I", true},
        {{"p", "--check-hash-based-pycs", "never", "x"}, "--check-hash-based-pycs never", true},
        {{"p", "--help"}, "--help", false},
        {{"p", "-X"}, "-X", false},
        {{"p", "-O"}, "-O", false},
    };
    char text[PYE_OPTIONS_BYTES];
    bool target;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[8];
        memcpy(argv, cases[i].argv, sizeof argv);
        assert_true(pye_python_options(argv, text, &target));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(target, cases[i].target);
    }
}

static void options_that_are_too_long(void **state)
{
    static char name[] = "p", option[] = "-X", value[PYE_OPTIONS_BYTES + 1];
    char *argv[] = {name, option, value, NULL}, text[PYE_OPTIONS_BYTES];
    bool target;
    (void)state;
    memset(value, 'x', sizeof value - 1);
    assert_false(pye_python_options(argv, text, &target));
}

static bool tells(const char *words, size_t length, const char *name, const char *value)
{
    struct pye_image image = {.header.words_bytes = (uint32_t)length, .words = words};
    const char *at = NULL;
    struct pye_word word;
    while (pye_image_next_word(&image, &at, &word)) {
        if (strcmp(word.name, name) == 0 && strcmp(word.value, value) == 0)
            return true;
    }
    return false;
}

static void words_of_this_process(void **state)
{
    static char words[65536], name[] = "/usr/bin/pyentry", option[] = "-O";
    char *argv[] = {name, option, NULL};
    (void)state;
    setenv("PYTHONPATH", "/x", 1);
    setenv("PYTHONUNBUFFERED", "1", 1);
    setenv("LC_TIME", "C", 1);
    setenv("LANGUAGES", "none of ours", 1);
    size_t length = pye_conditions_tell(words, sizeof words, argv);
    assert_true(length > 0);
    assert_true(tells(words, length, "", "/usr/bin/pyentry"));
    assert_true(tells(words, length, "", "-O"));
    assert_true(tells(words, length, "PYTHONPATH", "/x"));
    assert_true(tells(words, length, "LC_TIME", "C"));
    assert_false(tells(words, length, "LANGUAGES", "none of ours"));
    assert_false(tells(words, length, "PYTHONUNBUFFERED", "1"));
    assert_int_equal(pye_conditions_tell(words, 20, argv), 0);
}

#endif

static void lines_of_a_map(void **state)
{
    static const char *const none[] = {"", "x\n", "1000-2000\n", "1000-2000 rw\n", "2000-1000 rw-p 0 0:0 0\n",
                                       "1000-2000 rw-p 0 0:0 0", "-1000-2000 rw-p 0 0:0 0\n", "1000-2000 rw-p\n",
                                       "11111111111111111-2 rw-p 0 0:0 0\n"};
    char text[] = "00400000-00422000 r--p 00000000 fe:01 77      /usr/bin/py entry\n"
                  "7f0000000000-7f0000001000 rwxs 00001000 00:05 0 \n"
                  "7ffc0000-7ffd0000 rw-p 00000000 00:00 0 [stack]\n";
    char *at = text;
    struct pye_map map;
    (void)state;
    assert_true(pye_maps_next(&at, &map));
    assert_true(map.start == 0x400000 && map.end == 0x422000 && map.protection == PROT_READ && !map.shared);
    assert_int_equal(map.inode, 77);
    assert_string_equal(map.name, "/usr/bin/py entry");
    assert_true(pye_maps_next(&at, &map));
    assert_true(map.shared && map.protection == (PROT_READ | PROT_WRITE | PROT_EXEC) && *map.name == '\0');
    assert_false(pye_is_kernels(&map));
    assert_true(pye_maps_next(&at, &map));
    assert_true(pye_is_kernels(&map));
    assert_false(pye_maps_next(&at, &map));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char *copy = strdup(none[i]), *left = copy;
        if (pye_maps_next(&left, &map))
            fail_msg("taken: %s", none[i]);
        free(copy);
    }
}

static void this_process(void **state)
{
    static char text[PYE_MAPS_BYTES];
    char *at = text;
    struct pye_map map;
    bool found = false;
    (void)state;
    assert_true(pye_maps_read(text, sizeof text) > 0);
    while (pye_maps_next(&at, &map))
        found = found || ((uintptr_t)&map >= map.start && (uintptr_t)&map < map.end);
    assert_true(found);
    assert_int_equal(pye_maps_read(text, 100), -1);
}

static void what_stays_and_what_goes(void **state)
{
    struct pye_kept kept = {.count = 0};
    uint64_t start, end;
    (void)state;
    pye_keep(&kept, 0x5000, 0x6000);
    pye_keep(&kept, 0, 0x1000);
    pye_keep(&kept, 0x1000, 0x2000);
    assert_false(pye_gap_behind(&kept, 0, &start, &end));
    assert_true(pye_gap_behind(&kept, 1, &start, &end) && start == 0x2000 && end == 0x5000);
    assert_true(pye_gap_behind(&kept, 2, &start, &end) && start == 0x6000 && end == PYE_MEMORY_END);
    pye_keep(&kept, 0x5100, 0x5200); /* inside of another */
    assert_false(pye_gap_behind(&kept, 2, &start, &end) && start < 0x5200);
    assert_true(pye_gap_behind(&kept, 3, &start, &end) && start == 0x6000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if PYE_SNAPSHOTS
        cmocka_unit_test(options_of_python),     cmocka_unit_test(options_that_are_too_long),
        cmocka_unit_test(words_of_this_process),
#endif
        cmocka_unit_test(lines_of_a_map),        cmocka_unit_test(this_process),
        cmocka_unit_test(what_stays_and_what_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
