/* embed/bundle: the archive reader, on archives made here and on every damage of one byte. */
#include "tests/unit/check.h"

#include "embed/bundle/archive.h"
#include "embed/bundle/bundle.h"
#include "embed/bundle/commandline.h"
#include "embed/bundle/mark.h"
#include "launcher/crc32.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096, BASE = 512, MOST_FILES = 16 };

struct file {
    const char *name, *data;
};

static unsigned char bytes[ROOM];
static size_t size;

static void put(unsigned long long value, int count)
{
    for (; count > 0; count--, value >>= 8)
        bytes[size++] = (unsigned char)value;
}

static void put_text(const char *text)
{
    for (; *text != '\0'; text++)
        bytes[size++] = (unsigned char)*text;
}

/* The fields that the local header and the directory have in common, from "version needed" to the lengths. */
static void put_fields(const struct file *file)
{
    uint32_t length = (uint32_t)strlen(file->data);
    put(20, 2);
    put(0, 2 + 2 + 4); /* flags, method, time */
    put(pye_crc32(file->data, length), 4);
    put(length, 4);
    put(length, 4);
    put(strlen(file->name), 2);
    put(0, 2);
}

static void make(const struct file *files, int count)
{
    size_t headers[MOST_FILES];
    size = 0;
    for (int i = 0; i < count; i++) {
        headers[i] = size + BASE;
        put(0x04034b50, 4);
        put_fields(&files[i]);
        put_text(files[i].name);
        put_text(files[i].data);
    }
    size_t directory = size;
    for (int i = 0; i < count; i++) {
        put(0x02014b50, 4);
        put(20, 2);
        put_fields(&files[i]);
        put(0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        put(headers[i], 4);
        put_text(files[i].name);
    }
    size_t end = size;
    put(0x06054b50, 4);
    put(0, 4);
    put((unsigned)count, 2);
    put((unsigned)count, 2);
    put(end - directory, 4);
    put(directory + BASE, 4);
    put(0, 2);
}

static const struct file tree[] = {
    {".pyentry/manifest", "format 1\narg one\nargument no\narg two ${X}\narg \n"},
    {"a.py", "first"},
    {"a/b.py", ""},
    {"a/b/c.py", "deep"},
    {"a/b/d.py", "deeper"},
    {"a0", "after"},
    {"z", "last"},
};
enum { TREE = sizeof tree / sizeof *tree };

static const char *opened(struct pye_archive *archive)
{
    return pye_archive_open(archive, bytes, size, BASE);
}

static const struct pye_entry *found(const struct pye_archive *archive, const char *name)
{
    return pye_archive_find(archive, name, strlen(name));
}

static void files_are_found_and_read(void **state)
{
    struct pye_archive archive;
    (void)state;
    make(tree, TREE);
    assert_null(opened(&archive));
    for (int i = 0; i < TREE; i++) {
        const struct pye_entry *entry = found(&archive, tree[i].name);
        assert_non_null(entry);
        assert_int_equal(entry->size, strlen(tree[i].data));
        assert_memory_equal(pye_archive_read(&archive, entry), tree[i].data, entry->size);
    }
    assert_null(found(&archive, "a"));
    assert_null(found(&archive, ""));
    assert_null(found(&archive, "a/b/c.pyc"));
    pye_archive_close(&archive);
}

/* As in a process that is written down: another directory will be where this one was. */
static void a_settled_one_needs_no_directory(void **state)
{
    struct pye_archive archive;
    (void)state;
    make(tree, TREE);
    assert_null(opened(&archive));
    assert_non_null(pye_archive_read(&archive, found(&archive, "z")));
    assert_true(pye_archive_settle(&archive));
    memset(bytes + archive.directory, 'x', size - archive.directory);
    for (int i = 0; i < TREE; i++) {
        const struct pye_entry *entry = found(&archive, tree[i].name);
        assert_non_null(entry);
        assert_memory_equal(bytes + pye_archive_offset(&archive, entry) - BASE, tree[i].data, entry->size);
        bytes[pye_archive_offset(&archive, entry) - BASE] ^= 1;
        assert_true((pye_archive_read(&archive, entry) == NULL) == (entry->size > 0));
    }
    pye_archive_close(&archive);
}

/* "name1 name2/ " of a directory, or "none". */
static const char *listing(const struct pye_archive *archive, const char *directory)
{
    static char text[256];
    const struct pye_entry *entry = pye_archive_directory(archive, directory, strlen(directory));
    size_t used = 0;
    text[0] = '\0';
    if (entry == NULL)
        return "none";
    while (entry != NULL) {
        const char *name;
        size_t length;
        bool is_directory;
        entry = pye_archive_next(archive, strlen(directory), entry, &name, &length, &is_directory);
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s%s ", (int)length, name, is_directory ? "/" : "");
    }
    return text;
}

static void directories_are_what_lies_between_names(void **state)
{
    struct pye_archive archive;
    (void)state;
    make(tree, TREE);
    assert_null(opened(&archive));
    assert_string_equal(listing(&archive, ""), ".pyentry/ a.py a/ a0 z ");
    assert_string_equal(listing(&archive, "a"), "b.py b/ ");
    assert_string_equal(listing(&archive, "a/b"), "c.py d.py ");
    assert_string_equal(listing(&archive, "a/b/c.py"), "none");
    assert_string_equal(listing(&archive, "a."), "none");
    assert_string_equal(listing(&archive, "b"), "none");
    pye_archive_close(&archive);
    make(tree, 0);
    assert_null(opened(&archive));
    assert_string_equal(listing(&archive, ""), "none");
    pye_archive_close(&archive);
}

/* Reads all that is in it. False where something is told to be damaged, true where it is what it was. */
static bool all_right(uint32_t directory_crc)
{
    struct pye_archive archive;
    if (opened(&archive) != NULL)
        return false;
    bool right = pye_archive_directory_crc(&archive) == directory_crc;
    for (int i = 0; right && i < TREE; i++) {
        const struct pye_entry *entry = found(&archive, tree[i].name);
        assert_non_null(entry);
        const char *data = pye_archive_read(&archive, entry);
        right = data != NULL;
        if (right)
            assert_memory_equal(data, tree[i].data, strlen(tree[i].data));
    }
    pye_archive_close(&archive);
    return right;
}

static void every_byte_flipped_is_told_or_does_not_matter(void **state)
{
    struct pye_archive archive;
    int harmless = 0;
    (void)state;
    make(tree, TREE);
    assert_null(opened(&archive));
    uint32_t crc = pye_archive_directory_crc(&archive);
    pye_archive_close(&archive);
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (unsigned char)(1 << bit);
            harmless += all_right(crc);
            bytes[i] ^= (unsigned char)(1 << bit);
        }
    }
    assert_true(all_right(crc));
    /* Only the local headers' version and time, and their flag for UTF-8. */
    assert_int_equal(harmless, TREE * ((2 + 4) * 8 + 1));
}

static void every_truncation_is_told(void **state)
{
    struct pye_archive archive;
    (void)state;
    make(tree, TREE);
    for (size_t whole = size; size > 0;) {
        size--;
        const char *wrong = opened(&archive);
        assert_true(wrong != NULL || size == whole);
    }
}

/* What a file must not be called, or lie. */
static void bad_names_are_refused(void **state)
{
    static const char *const names[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", "../a", "a/./b"};
    struct pye_archive archive;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct file file = {names[i], "x"};
        make(&file, 1);
        assert_string_equal(opened(&archive), "it holds a file with a bad name");
    }
    const struct file fine[] = {{"..a", "x"}, {".a", "x"}, {"a.", "x"}, {"a..b", ""}};
    make(fine, 4);
    assert_null(opened(&archive));
    pye_archive_close(&archive);
    const struct file twice[] = {{"a", "x"}, {"a", "y"}}, disorder[] = {{"b", "x"}, {"a", "y"}};
    make(twice, 2);
    assert_string_equal(opened(&archive), "its files are not in the order of their names");
    make(disorder, 2);
    assert_string_equal(opened(&archive), "its files are not in the order of their names");
}

static void the_checksum_is_zips(void **state)
{
    (void)state;
    assert_int_equal(pye_crc32("", 0), 0);
    assert_int_equal(pye_crc32("123456789", 9), 0xcbf43926);
    assert_int_equal(pye_crc32("The quick brown fox jumps over the lazy dog", 43), 0x414fa339);
    /* Every length and alignment, against the definition. */
    unsigned char data[400];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i * 7 + (i >> 3));
    for (size_t start = 0; start < 17; start++) {
        uint32_t crc = 0xffffffff;
        for (size_t length = 0; start + length < sizeof data; length++) {
            assert_int_equal(pye_crc32(data + start, length), ~crc);
            crc ^= data[start + length];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
}

/* --- what the builder writes down --- */

static void the_manifest_is_read_by_key(void **state)
{
    static struct pye_bundle bundle;
    size_t at = 0, length;
    (void)state;
    make(tree, TREE);
    assert_null(opened(&bundle.archive));
    assert_null(pye_bundle_read_manifest(&bundle));
    const char *line = pye_bundle_line(&bundle, "arg", &at, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(line, "one", 3);
    line = pye_bundle_line(&bundle, "arg", &at, &length);
    assert_int_equal(length, 8);
    assert_memory_equal(line, "two ${X}", 8);
    assert_non_null(pye_bundle_line(&bundle, "arg", &at, &length));
    assert_int_equal(length, 0);
    assert_null(pye_bundle_line(&bundle, "arg", &at, &length));
    at = 0;
    assert_null(pye_bundle_line(&bundle, "ar", &at, &length));
    assert_false(bundle.has_stdlib);
    pye_archive_close(&bundle.archive);
}

static void expects(const char *text, const char *wanted)
{
    char missing[32] = "";
    char *expanded = pye_bundle_expand(text, strlen(text), missing, sizeof missing);
    if (wanted == NULL)
        assert_null(expanded);
    else
        assert_string_equal(expanded, wanted);
    free(expanded);
}

static void variables_are_expanded_without_a_shell(void **state)
{
    (void)state;
    setenv("SET", "value", 1);
    setenv("EMPTY", "", 1);
    unsetenv("UNSET");
    expects("", "");
    expects("plain $SET $", "plain $SET $");
    expects("$$SET $${SET} $$$", "$SET ${SET} $$");
    expects("${SET}", "value");
    expects("a${SET}b${SET}c", "avaluebvaluec");
    expects("${EMPTY}", "");
    expects("${EMPTY:-other}${UNSET:-}${UNSET:-$SET two}", "other$SET two");
    expects("${SET:-other}", "value");
    expects("${UNSET}", NULL);
    expects("${}", NULL);
    expects("${SET", NULL);
    expects("${SET:-x", NULL);
    expects("${SET:x}", NULL);
    expects("${SET-x}", NULL);
    expects("${A_NAME_LONGER_THAN_THE_ROOM_FOR_WHAT_IS_MISSING:-x}", NULL);
}

static bool is_python(const char *words)
{
    static const struct pye_bundle bundle = {.root = "/srv/app", .root_length = 8};
    char text[64], *argv[16] = {(char *)"app"}, *rest = NULL;
    int argc = 1;
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    return pye_bundle_asks_for_python(&bundle, argc, argv);
}

static void a_command_line_is_the_apps_or_pythons(void **state)
{
    static const char *const pythons[] = {"-c x", "-m x", "-Ic x", "-I", "-B", "-S", "-u", "-Xdev", "-X dev", "-W x",
                                          "-E", "-s", "-v -c x", "-vvm x", "-OO -m x", "-cx", "-qi -I", "/srv/app/pkg/main.py -x"};
    static const char *const apps[] = {"", "x", "x -c", "-v", "-h", "-V", "-i x", "--", "-- -c", "--c", "-", "-p -c",
                                       "-vp -c", "--help", "-v x -c", "/srv/app", "/srv/apple", "x /srv/app/y"};
    (void)state;
    for (size_t i = 0; i < sizeof pythons / sizeof *pythons; i++)
        assert_true(is_python(pythons[i]));
    for (size_t i = 0; i < sizeof apps / sizeof *apps; i++)
        assert_false(is_python(apps[i]));
}

static void a_link_may_be_called_python_or_pyentry(void **state)
{
    (void)state;
    assert_int_equal(pye_bundle_called("app"), PYE_CALLED_OTHERWISE);
    assert_int_equal(pye_bundle_called("/srv/python/app"), PYE_CALLED_OTHERWISE);
    assert_int_equal(pye_bundle_called("pythonic"), PYE_CALLED_OTHERWISE);
    assert_int_equal(pye_bundle_called("/bin/pyentry2"), PYE_CALLED_OTHERWISE);
    assert_int_equal(pye_bundle_called(""), PYE_CALLED_OTHERWISE);
    assert_int_equal(pye_bundle_called("python"), PYE_CALLED_PYTHON);
    assert_int_equal(pye_bundle_called("./python3.11"), PYE_CALLED_PYTHON);
    assert_int_equal(pye_bundle_called("/pyentry"), PYE_CALLED_PYENTRY);
}

static void a_plain_mark_is_empty(void **state)
{
    struct pye_mark mark, set = pye_mark_make(1, 2, 3);
    (void)state;
    assert_int_equal(pye_mark_read(&mark), PYE_MARK_EMPTY);
    assert_int_equal(sizeof mark, 40);
    assert_int_not_equal(set.check, 0);
    assert_memory_equal(mark.name, set.name, sizeof mark.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_found_and_read),
        cmocka_unit_test(a_settled_one_needs_no_directory),
        cmocka_unit_test(directories_are_what_lies_between_names),
        cmocka_unit_test(every_byte_flipped_is_told_or_does_not_matter),
        cmocka_unit_test(every_truncation_is_told),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(the_checksum_is_zips),
        cmocka_unit_test(the_manifest_is_read_by_key),
        cmocka_unit_test(variables_are_expanded_without_a_shell),
        cmocka_unit_test(a_command_line_is_the_apps_or_pythons),
        cmocka_unit_test(a_link_may_be_called_python_or_pyentry),
        cmocka_unit_test(a_plain_mark_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
