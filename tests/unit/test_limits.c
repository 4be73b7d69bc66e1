/* launcher/limits: what the files of many systems come to, who wins, and the texts one by one. */
#include "tests/unit/check.h"

#include "launcher/cgroup.h"
#include "launcher/limits.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_BYTES = PYE_LIMIT_SOURCE_BYTES + 32, LINE_BYTES = 2 * LIMIT_BYTES + 4, LEAST_TREES = 25 };

static const char *fixtures(void)
{
    static char path[PATH_MAX];
    const char *source = getenv("srcdir"); /* automake's */
    snprintf(path, sizeof path, "%s/tests/fixtures/cgroup", source == NULL ? "." : source);
    return path;
}

/* --- a tree, unpacked --- */

static char *read_file(const char *directory, const char *name, const char *suffix)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t room = 0;
    if (file == NULL || getdelim(&text, &room, '\0', file) <= 0)
        fail_msg("%s: %s", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    return text;
}

/* With all that are above it. */
static void make_directory(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

/* Begins the file that a header line names. NULL where that is a directory. */
static FILE *begin_file(const char *root, const char *name)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s%s", root, name);
    make_directory(path);
    return name[strlen(name) - 1] == '/' ? NULL : fopen(path, "we");
}

static void unpack(const char *name, char *root)
{
    char *text = read_file(fixtures(), name, ".tree"), *rest = text, *line;
    FILE *file = NULL;
    assert_non_null(mkdtemp(root));
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strncmp(line, "== ", 3) == 0) {
            if (file != NULL)
                fclose(file);
            file = begin_file(root, line + 3);
        } else if (file != NULL && rest != NULL) {
            fprintf(file, "%s\n", line);
        }
    }
    if (file != NULL)
        fclose(file);
    free(text);
}

static void clear(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char below[2 * PATH_MAX];
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(below) < 0)
            clear(below);
    }
    if (directory != NULL)
        closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

/* --- the answers --- */

/* "2 | /file", or "none | -" */
static void describe(const struct pye_limit *limit, char *text, size_t room)
{
    if (limit->value == PYE_NO_LIMIT)
        snprintf(text, room, "none | -");
    else
        snprintf(text, room, "%" PRId64 " | %s", limit->value, limit->source);
}

/* What is read below root, as the table has it. */
static void answer(const char *root, char *text, size_t room)
{
    char cpus[LIMIT_BYTES], memory[LIMIT_BYTES];
    struct pye_limit limit = {.value = PYE_NO_LIMIT};
    pye_cpus_quota(root, &limit);
    describe(&limit, cpus, sizeof cpus);
    pye_memory_limit(root, &limit);
    describe(&limit, memory, sizeof memory);
    snprintf(text, room, "%s | %s", cpus, memory);
}

static void trees_give_their_answers(void **state)
{
    char *text = read_file(fixtures(), "answers.txt", ""), *rest = text, *line;
    int wrong = 0;
    (void)state;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char root[] = "/tmp/pyentry-test-XXXXXX", found[LINE_BYTES];
        char *expected = strstr(line, " | ");
        if (line[0] == '#' || expected == NULL)
            continue;
        *expected = '\0';
        unpack(line, root);
        answer(root, found, sizeof found);
        clear(root);
        if (strcmp(found, expected + 3) != 0) {
            print_error("%s\n  expected %s\n  found    %s\n", line, expected + 3, found);
            wrong++;
        }
    }
    free(text);
    assert_int_equal(wrong, 0);
}

/* No tree without an answer. */
static void every_tree_has_an_answer(void **state)
{
    char *answers = read_file(fixtures(), "answers.txt", "");
    DIR *directory = opendir(fixtures());
    struct dirent *entry;
    int trees = 0;
    (void)state;
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char row[NAME_MAX + 8];
        char *suffix = strstr(entry->d_name, ".tree");
        if (suffix == NULL)
            continue;
        snprintf(row, sizeof row, "\n%.*s | ", (int)(suffix - entry->d_name), entry->d_name);
        if (strstr(answers, row) == NULL)
            fail_msg("%s is not in answers.txt", entry->d_name);
        trees++;
    }
    closedir(directory);
    free(answers);
    assert_true(trees >= LEAST_TREES);
}

/* --- files that are not as expected --- */

static void write_below(const char *root, const char *name, const char *text)
{
    FILE *file = begin_file(root, name);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What was known stays where nothing can be read any more. */
static void the_last_quota_stays(void **state)
{
    char root[] = "/tmp/pyentry-test-XXXXXX";
    struct pye_limit quota = {.value = 3, .source = "before"};
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_false(pye_cpus_quota(root, &quota));
    assert_true(quota.value == 3 && strcmp(quota.source, "before") == 0);
    write_below(root, "/proc/self/cgroup", "0::/\n");
    write_below(root, "/proc/self/mountinfo", "30 22 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    assert_false(pye_cpus_quota(root, &quota));
    assert_int_equal(quota.value, 3);
    write_below(root, "/cg/cpu.max", "max 100000\n");
    assert_true(pye_cpus_quota(root, &quota));
    assert_int_equal(quota.value, PYE_NO_LIMIT);
    clear(root);
}

/* Of a list that is longer than what is read, no half line counts. */
static void long_lists(void **state)
{
    static const char mount[] = "30 22 0:26 /a /cg rw - cgroup2 cgroup2 rw\n";
    char root[] = "/tmp/pyentry-test-XXXXXX";
    char *list = malloc((size_t)2 * PYE_CGROUP_LIST_BYTES);
    struct pye_limit quota = {.value = PYE_NO_LIMIT};
    (void)state;
    assert_true(list != NULL && mkdtemp(root) != NULL);
    write_below(root, "/cg/b/cpu.max", "100000 100000\n");
    write_below(root, "/cg/cpu.max", "200000 100000\n");
    write_below(root, "/proc/self/mountinfo", mount);
    /* The path of the last line is cut after /a, which is a group, too. */
    memset(list, 'x', PYE_CGROUP_LIST_BYTES);
    memcpy(list + PYE_CGROUP_LIST_BYTES - 1 - strlen("\n0::/a"), "\n0::/a/b\n", sizeof "\n0::/a/b\n");
    write_below(root, "/proc/self/cgroup", list);
    assert_false(pye_cpus_quota(root, &quota));
    write_below(root, "/proc/self/cgroup", "0::/a/b\n");
    assert_true(pye_cpus_quota(root, &quota));
    assert_int_equal(quota.value, 1);
    /* The same of the mounts: what is behind the ceiling is not read. */
    memset(list, 'x', PYE_CGROUP_LIST_BYTES);
    snprintf(list + PYE_CGROUP_LIST_BYTES - 8, sizeof mount + 1, "\n%s", mount);
    write_below(root, "/proc/self/mountinfo", list);
    assert_false(pye_cpus_quota(root, &quota));
    free(list);
    clear(root);
}

/* --- texts --- */

enum { NONSENSE = -2 };

static void cpu_max_texts(void **state)
{
    static const struct {
        const char *text;
        int64_t cpus;
    } cases[] = {
        {"max 100000\n", PYE_NO_LIMIT}, {"100000 100000\n", 1}, {"100001 100000\n", 2}, {"50000 100000\n", 1},
        {"1 1000000\n", 1}, {"200000 100000", 2}, {"6400000 100000\n", 64}, {"0 100000\n", NONSENSE}, {"", NONSENSE},
        {" ", NONSENSE}, {"\n", NONSENSE}, {"max", NONSENSE}, {"maximum 100000\n", NONSENSE}, {"100000\n", NONSENSE},
        {"100000 \n", NONSENSE}, {"100000 0\n", NONSENSE}, {"100000 max\n", NONSENSE}, {"-1 100000\n", NONSENSE},
        {"100000 -1\n", NONSENSE}, {"1e5 100000\n", NONSENSE}, {"99999999999999999999 1\n", NONSENSE},
        {"9223372036854775807 1\n", INT_MAX}, {"123456789012345678901234567890 1\n", NONSENSE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t cpus;
        if (!pye_parse_cpu_max(cases[i].text, &cpus))
            cpus = NONSENSE;
        if (cpus != cases[i].cpus)
            fail_msg("'%s': %" PRId64, cases[i].text, cpus);
    }
}

static void cfs_quota_texts(void **state)
{
    static const struct {
        const char *quota, *period;
        int64_t cpus;
    } cases[] = {
        {"-1\n", "100000\n", PYE_NO_LIMIT}, {"-1\n", "", PYE_NO_LIMIT}, {"100000\n", "100000\n", 1},
        {"150000\n", "100000\n", 2}, {"25000\n", "100000\n", 1}, {"100000\n", "0\n", NONSENSE},
        {"0\n", "100000\n", NONSENSE}, {"100000\n", "", NONSENSE},
        {"", "100000\n", NONSENSE}, {"x\n", "100000\n", NONSENSE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t cpus;
        if (!pye_parse_cfs_quota(cases[i].quota, cases[i].period, &cpus))
            cpus = NONSENSE;
        if (cpus != cases[i].cpus)
            fail_msg("'%s' '%s': %" PRId64, cases[i].quota, cases[i].period, cpus);
    }
}

/* --- who wins --- */

static void counts_that_were_asked_for(void **state)
{
    static const struct {
        struct pye_cpus_asked asked;
        int64_t count; /* NONSENSE: not valid */
        const char *source;
    } cases[] = {
        {{NULL, 0, NULL}, PYE_NO_LIMIT, NULL},
        {{NULL, 0, ""}, PYE_NO_LIMIT, NULL}, /* empty is unset, as for python */
        {{NULL, 0, "3"}, 3, PYE_BY_VARIABLE},
        {{NULL, 0, "default"}, PYE_NO_LIMIT, NULL},
        {{NULL, 2, "3"}, 2, PYE_BY_OPTION},
        {{NULL, 2, "default"}, 2, PYE_BY_OPTION},
        {{"1", 2, "3"}, 1, PYE_BY_XOPTION},
        {{"1", 0, NULL}, 1, PYE_BY_XOPTION},
        {{"default", 2, "3"}, PYE_NO_LIMIT, NULL},
        {{" +7", 0, NULL}, 7, PYE_BY_XOPTION},
        {{"2147483647", 0, NULL}, INT_MAX, PYE_BY_XOPTION},
        {{"2147483648", 0, NULL}, NONSENSE, PYE_BY_XOPTION},
        {{"", 0, NULL}, NONSENSE, PYE_BY_XOPTION},
        {{"0", 0, NULL}, NONSENSE, PYE_BY_XOPTION},
        {{"-1", 2, NULL}, NONSENSE, PYE_BY_XOPTION},
        {{"1 ", 0, NULL}, NONSENSE, PYE_BY_XOPTION},
        {{"1", 2, "x"}, NONSENSE, PYE_BY_VARIABLE},
        {{NULL, 2, "0"}, NONSENSE, PYE_BY_VARIABLE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pye_limit chosen;
        bool valid = pye_cpus_choose(&cases[i].asked, &chosen);
        if (valid != (cases[i].count != NONSENSE) || (valid && chosen.value != cases[i].count))
            fail_msg("case %zu: %d %" PRId64, i, valid, chosen.value);
        if (cases[i].source != NULL)
            assert_string_equal(chosen.source, cases[i].source);
    }
}

static void the_least_counts(void **state)
{
    struct pye_limit count, quota = {.value = PYE_NO_LIMIT};
    cpu_set_t before, one;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    pye_cpus_count(&quota, &count);
    assert_true(count.value >= 1 && count.value <= pye_cpus_affinity());

    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(pye_cpus_affinity(), 1);
    pye_cpus_count(&quota, &count);
    assert_int_equal(count.value, 1);
    assert_string_equal(count.source, sysconf(_SC_NPROCESSORS_ONLN) == 1 ? PYE_BY_HOST : PYE_BY_AFFINITY);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_give_their_answers),
        cmocka_unit_test(every_tree_has_an_answer),
        cmocka_unit_test(the_last_quota_stays),
        cmocka_unit_test(long_lists),
        cmocka_unit_test(cpu_max_texts),
        cmocka_unit_test(cfs_quota_texts),
        cmocka_unit_test(counts_that_were_asked_for),
        cmocka_unit_test(the_least_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
