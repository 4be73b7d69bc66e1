/* launcher/image: a small image is read as it was made; whatever is wrong with one is found. */
#include "tests/unit/check.h"

#include "launcher/image.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PROGRAM 0x600000
#define ARENA 0x200000000000

#define PAGE ((uint64_t)PYE_IMAGE_PAGE)

enum { PAGES = 6 };

static const char words[] = "P\0\0/usr/bin/pyentry\0\0S\0LANG\0C.UTF-8\0\0U\0DEBUG\0\0app\0";

struct small {
    struct pye_image image;
    struct pye_image_area areas[4];
    struct pye_image_run runs[5];
    struct pye_image_range touched[2];
    char words[sizeof words - 1];
};

/* The tables, as they stand in the file, with zeros behind them for headers that claim more. */
static void *tables_of(const struct small *small)
{
    static union {
        char bytes[2 * PYE_IMAGE_WORDS];
        struct pye_image_area aligned;
    } tables;
    char *at = tables.bytes;
    at = (char *)memcpy(at, small->areas, sizeof small->areas) + sizeof small->areas;
    at = (char *)memcpy(at, small->runs, sizeof small->runs) + sizeof small->runs;
    at = (char *)memcpy(at, small->touched, sizeof small->touched) + sizeof small->touched;
    memcpy(at, small->words, sizeof small->words);
    return tables.bytes;
}

static void make(struct small *small)
{
    enum { RW = PROT_READ | PROT_WRITE };
    *small = (struct small){
        .image.header = {.version = PYE_IMAGE_VERSION, .header_bytes = sizeof(struct pye_image_header),
                         .file_bytes = (1 + PAGES) * PAGE, .data_offset = PAGE, .areas = 4, .runs = 5, .touched = 2,
                         .words_bytes = sizeof words - 1, .program_start = PROGRAM, .program_end = PROGRAM + 4 * PAGE,
                         .arena_start = ARENA, .arena_end = ARENA + 100 * PAGE, .thread_pointer = ARENA + 2 * PAGE + 64,
                         .stack_pointer = ARENA + 91 * PAGE + 8, .entry = 0x401000},
        .areas = {{PROGRAM, PROGRAM + 4 * PAGE, PYE_AREA_PRIVATE, RW, 1, 0},
                  {ARENA, ARENA + 10 * PAGE, PYE_AREA_PRIVATE, RW, 2, PYE_ADVICE_WIPE_ON_FORK},
                  {ARENA + 10 * PAGE, ARENA + 11 * PAGE, PYE_AREA_SHARED, RW, 1, 0},
                  {ARENA + 90 * PAGE, ARENA + 100 * PAGE, PYE_AREA_COPIED, RW, 1, 0}},
        .runs = {{PROGRAM, PROGRAM + PAGE, PAGE},
                 {ARENA, ARENA + PAGE, 2 * PAGE},
                 {ARENA + 8 * PAGE, ARENA + 9 * PAGE, 3 * PAGE},
                 {ARENA + 10 * PAGE, ARENA + 11 * PAGE, 4 * PAGE},
                 {ARENA + 91 * PAGE, ARENA + 93 * PAGE, 5 * PAGE}},
        .touched = {{PROGRAM + PAGE, PROGRAM + 2 * PAGE}, {ARENA + PAGE, ARENA + 4 * PAGE}},
    };
    memcpy(small->image.header.magic, PYE_IMAGE_MAGIC, sizeof small->image.header.magic);
    memcpy(small->words, words, sizeof small->words);
}

/* What a reader says of it, once its checksums are right. */
static const char *verdict(struct small *small)
{
    void *tables = tables_of(small);
    pye_image_seal(&small->image.header, tables);
    const char *wrong = pye_image_check_header(&small->image.header, small->image.header.file_bytes);
    return wrong != NULL ? wrong : pye_image_check_tables(&small->image, tables);
}

static void is_read_as_it_was_made(void **state)
{
    struct small small;
    struct pye_word word;
    const char *at = NULL;
    (void)state;
    make(&small);
    assert_null(verdict(&small));
    assert_int_equal(small.image.areas[3].kind, PYE_AREA_COPIED);
    assert_int_equal(small.image.runs[4].offset, 5 * PAGE);
    assert_int_equal(small.image.touched[1].end, ARENA + 4 * PAGE);
    assert_true(pye_image_next_word(&small.image, &at, &word));
    assert_int_equal(word.kind, PYE_WORD_PROGRAM);
    assert_string_equal(word.value, "/usr/bin/pyentry");
    assert_true(pye_image_next_word(&small.image, &at, &word));
    assert_string_equal(word.name, "LANG");
    assert_string_equal(word.value, "C.UTF-8");
    assert_true(pye_image_next_word(&small.image, &at, &word));
    assert_int_equal(word.kind, PYE_WORD_UNSET);
    assert_string_equal(word.place, "app");
    assert_false(pye_image_next_word(&small.image, &at, &word));
}

static void every_bit_is_behind_a_checksum(void **state)
{
    struct small small;
    (void)state;
    make(&small);
    assert_null(verdict(&small));
    struct pye_image_header header = small.image.header;
    for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
        ((uint8_t *)&header)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_non_null(pye_image_check_header(&header, small.image.header.file_bytes));
        ((uint8_t *)&header)[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_null(pye_image_check_header(&header, header.file_bytes));
    char *tables = tables_of(&small);
    for (size_t bit = 0; bit < 8 * pye_image_tables_bytes(&header); bit++) {
        tables[bit / 8] ^= (char)(1 << bit % 8);
        assert_non_null(pye_image_check_tables(&small.image, tables));
        tables[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void every_other_length_is_wrong(void **state)
{
    struct small small;
    (void)state;
    make(&small);
    assert_null(verdict(&small));
    for (uint64_t bytes = 0; bytes < 2 * small.image.header.file_bytes; bytes++) {
        const char *wrong = pye_image_check_header(&small.image.header, bytes);
        assert_true((wrong == NULL) == (bytes == small.image.header.file_bytes));
    }
}

/* Sealed, as only its maker could: what makes no sense is found all the same. */
#define CASE(statement)                                                                                               \
    do {                                                                                                              \
        struct small small;                                                                                           \
        make(&small);                                                                                                 \
        statement;                                                                                                    \
        if (verdict(&small) == NULL)                                                                                  \
            fail_msg("taken: %s", #statement);                                                                        \
    } while (0)

/* Of a position-independent pyentry: all of it lies in the arena, its code too. */
static void code_in_the_arena(void **state)
{
    struct small small;
    (void)state;
    make(&small);
    small.areas[0] = (struct pye_image_area){.start = ARENA - 5 * PAGE, .end = ARENA - PAGE,
                                             .protection = PROT_READ | PROT_EXEC, .runs = 1};
    small.runs[0] = (struct pye_image_run){ARENA - 5 * PAGE, ARENA - 4 * PAGE, PAGE};
    small.touched[0] = (struct pye_image_range){ARENA - 5 * PAGE, ARENA - 4 * PAGE};
    small.image.header.program_start = small.image.header.program_end = 0;
    small.image.header.arena_start = ARENA - 5 * PAGE;
    small.image.header.entry = ARENA - 5 * PAGE + 16;
    assert_null(verdict(&small));
    small.image.header.entry = ARENA;
    assert_non_null(verdict(&small));
}

/* Of a bundle: its archive lies before the image, and nowhere else. */
static void the_archive_of_a_bundle(void **state)
{
    struct small small;
    (void)state;
    make(&small);
    small.areas[2].kind = PYE_AREA_ARCHIVE;
    small.runs[3].offset = 0;
    assert_non_null(verdict(&small));
    small.image.base = PAGE;
    assert_null(verdict(&small));
    small.runs[3].offset = PAGE;
    assert_non_null(verdict(&small));
    small.runs[3].offset = UINT64_MAX - PAGE + 1;
    assert_non_null(verdict(&small));
}

static void headers_that_make_no_sense(void **state)
{
    (void)state;
    CASE(small.image.header.areas = PYE_IMAGE_AREAS + 1);
    CASE(small.image.header.runs = PYE_IMAGE_RUNS + 1);
    CASE(small.image.header.words_bytes = PYE_IMAGE_WORDS + 1);
    CASE(small.image.header.data_offset = PAGE + 8);
    CASE(small.image.header.data_offset = 0);
    CASE(small.image.header.data_offset = UINT64_MAX - PAGE + 1);
    CASE(small.image.header.touched = PYE_IMAGE_TOUCHED + 1);
    CASE(small.image.header.touched = 1);
    CASE(small.image.header.program_end = PROGRAM);
    CASE(small.image.header.program_end = ARENA + PAGE);
    CASE(small.image.header.arena_start = ARENA + 1);
    CASE(small.image.header.arena_end = 0);
    CASE(small.image.header.stack_pointer = ARENA + 89 * PAGE);
    CASE(small.image.header.thread_pointer = ARENA + 50 * PAGE);
}

static void tables_that_make_no_sense(void **state)
{
    (void)state;
    CASE(small.areas[0].start = PROGRAM - PAGE);
    CASE(small.areas[0].end = PROGRAM + 5 * PAGE);
    CASE(small.areas[1].start = ARENA + 8);
    CASE(small.areas[1].end = ARENA);
    CASE(small.areas[2].start = ARENA + 9 * PAGE);
    CASE(small.areas[3].end = UINT64_MAX - PAGE + 1);
    CASE(small.areas[1].kind = PYE_AREA_KINDS);
    CASE(small.areas[3].kind = PYE_AREA_PRIVATE);
    CASE(small.areas[1].protection = 8);
    CASE(small.areas[1].advice = 4);
    CASE(small.areas[1].runs = 1);
    CASE(small.areas[3].runs = 2);
    CASE(small.areas[0].runs = UINT32_MAX);
    CASE(small.runs[1].start = ARENA - PAGE);
    CASE(small.runs[1].end = ARENA + 9 * PAGE);
    CASE(small.runs[2].end = ARENA + 11 * PAGE);
    CASE(small.runs[2].start = small.runs[2].end);
    CASE(small.runs[2].offset = 0);
    CASE(small.runs[2].offset = 3 * PAGE + 1);
    CASE(small.runs[4].offset = 6 * PAGE);
    CASE(small.runs[4].offset = UINT64_MAX - PAGE + 1);
    CASE(small.touched[0].start = PROGRAM - PAGE);
    CASE(small.touched[0].end = PROGRAM + PAGE);
    CASE(small.touched[1].start = PROGRAM + PAGE);
    CASE(small.touched[1].start = ARENA + 8);
    CASE(small.touched[1].end = ARENA + 101 * PAGE);
    CASE(small.words[sizeof small.words - 1] = 'x');
    CASE(small.words[0] = '\0');
    CASE(small.words[1] = 'x');
    CASE(small.words[2] = 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_as_it_was_made),      cmocka_unit_test(every_bit_is_behind_a_checksum),
        cmocka_unit_test(every_other_length_is_wrong), cmocka_unit_test(headers_that_make_no_sense),
        cmocka_unit_test(tables_that_make_no_sense),   cmocka_unit_test(code_in_the_arena),
        cmocka_unit_test(the_archive_of_a_bundle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
