/* launcher/cgroup: where the memory group is, and what its files say; the line that comes of it. */
#include "tests/unit/check.h"

#include "launcher/memory.h"
#include "launcher/verdict.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 4096 };

#define MOUNT_V1(root, point) "36 32 0:33 " root " " point " ro,nosuid - cgroup cgroup rw,memory\n"
#define MOUNT_V2(root, point) "30 23 0:26 " root " " point " rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define ROOT_MOUNT "22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a:/b\n"
#define DOCKER "/docker/0f3c"

static const struct recorded {
    const char *name, *cgroup, *mountinfo, *groups; /* each one: version, directory, newline */
} recorded[] = {
    {"docker, version 1: the group is the mount's root",
     "12:pids:" DOCKER "\n11:memory:" DOCKER "\n10:cpu,cpuacct:" DOCKER "\n1:name=systemd:" DOCKER
     "\n0::/system.slice\n",
     ROOT_MOUNT "35 32 0:32 " DOCKER " /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n" MOUNT_V1(
         DOCKER, "/sys/fs/cgroup/memory"),
     "1 /sys/fs/cgroup/memory\n"},
    {"docker, version 2 with its own cgroup namespace", "0::/\n", ROOT_MOUNT MOUNT_V2("/", "/sys/fs/cgroup"),
     "2 /sys/fs/cgroup\n"},
    {"docker, version 2 in the host's cgroup namespace", "0::/system.slice/docker-0f3c.scope\n",
     ROOT_MOUNT MOUNT_V2("/", "/sys/fs/cgroup"), "2 /sys/fs/cgroup/system.slice/docker-0f3c.scope\n"},
    {"kubernetes, version 1", "9:memory:/kubepods/burstable/pod5b/c1\n8:cpuset:/kubepods/burstable/pod5b/c1\n",
     ROOT_MOUNT MOUNT_V1("/kubepods/burstable/pod5b/c1", "/sys/fs/cgroup/memory"), "1 /sys/fs/cgroup/memory\n"},
    {"kubernetes, version 2, escaped slice names", "0::/kubepods.slice/kubepods-pod5b\\x2d1.slice/cri-c1.scope\n",
     MOUNT_V2("/", "/sys/fs/cgroup"), "2 /sys/fs/cgroup/kubepods.slice/kubepods-pod5b\\x2d1.slice/cri-c1.scope\n"},
    {"the same under a mount whose root has that name",
     "0::/pods/a\\x2db/c1\n", MOUNT_V2("/pods/a\\134x2db", "/sys/fs/cgroup"), "2 /sys/fs/cgroup/c1\n"},
    {"hybrid: whichever has the controller has its files",
     "4:memory:/user.slice\n1:name=systemd:/user.slice\n0::/user.slice\n",
     MOUNT_V2("/", "/sys/fs/cgroup/unified") MOUNT_V1("/", "/sys/fs/cgroup/memory"),
     "2 /sys/fs/cgroup/unified/user.slice\n1 /sys/fs/cgroup/memory/user.slice\n"},
    {"hybrid, version 1 without memory", "2:cpu:/x\n0::/y\n",
     MOUNT_V2("/", "/sys/fs/cgroup/unified"), "2 /sys/fs/cgroup/unified/y\n"},
    {"several controllers in one hierarchy", "3:cpu,memory,pids:/m\n",
     "36 32 0:33 / /cg rw - cgroup none rw,cpu,memory,pids\n", "1 /cg/m\n"},
    {"a cgroup namespace, its mount from outside: the top is above the group", "0::/below\n",
     MOUNT_V2("/../..", "/sys/fs/cgroup"), "2 /sys/fs/cgroup\n"},
    {"the same, and the group is above the namespace", "0::/../it\n", MOUNT_V2("/..", "/cg"), "2 /cg/it\n"},
    {"the same, further above", "0::/../it\n", MOUNT_V2("/../..", "/cg"), "2 /cg\n"},
    {"the same, the mount is lower than the group", "0::/../..\n", MOUNT_V2("/..", "/cg"), ""},
    {"a group that is not below what can be seen", "0::/../../other\n", MOUNT_V2("/", "/sys/fs/cgroup"), ""},
    {"a mount of a neighbour", "5:memory:/else\n", MOUNT_V1("/docker/1", "/cg"), ""},
    {"a mount of a namespace's neighbour", "5:memory:/\n", MOUNT_V1("/../1", "/cg"), ""},
    {"a name that begins as the root does", "5:memory:/docker/12\n", MOUNT_V1("/docker/1", "/cg"), ""},
    {"a name that begins with dots", "5:memory:/..a\n", MOUNT_V1("/", "/cg"), "1 /cg/..a\n"},
    {"below the mount's root", "5:memory:/docker/1/below\n", MOUNT_V1("/docker/1", "/cg"), "1 /cg/below\n"},
    {"two mounts, the second has the group", "5:memory:/docker/1/x\n",
     MOUNT_V1("/elsewhere", "/mnt/else") MOUNT_V1("/docker/1", "/cg"), "1 /cg/x\n"},
    {"two mounts, both have it", "5:memory:/docker/1/x\n",
     MOUNT_V1("/docker/1", "/cg") MOUNT_V1("/", "/host/cg"), "1 /cg/x\n1 /host/cg/docker/1/x\n"},
    {"colons and spaces in the name", "7:memory:/a: b/c:d\n0::/\n", MOUNT_V1("/", "/cg"), "1 /cg/a: b/c:d\n"},
    {"colons and spaces, version 2", "0::/a: b,memory:/c\n", MOUNT_V2("/", "/cg"), "2 /cg/a: b,memory:/c\n"},
    {"escaped fields of mountinfo", "7:memory:/a b/c\n",
     MOUNT_V1("/a\\040b", "/c\\011g\\134\\043"), "1 /c\tg\\#/c\n"},
    {"no optional fields, many optional fields", "7:memory:/x\n",
     "36 32 0:33 / /cg rw shared:1 master:2 propagate_from:3 unbindable - cgroup cgroup rw,memory\n", "1 /cg/x\n"},
    {"a controller whose name holds the word", "7:memory_extra:/x\n6:name=memory:/y\n", MOUNT_V1("/", "/cg"), ""},
    {"an option that holds the word", "7:memory:/x\n",
     "36 32 0:33 / /cg rw - cgroup memory rw,nomemory,memory2\n", ""},
    {"another file system of that name", "7:memory:/x\n", "36 32 0:33 / /cg rw - tmpfs memory rw,memory\n", ""},
    {"no group", "", MOUNT_V1("/", "/cg"), ""},
    {"no mounts", "7:memory:/x\n0::/\n", "", ""},
    {"nothing", "", "", ""},
    {"no newline at the end", "7:memory:/x", "36 32 0:33 / /cg rw - cgroup cgroup rw,memory", "1 /cg/x\n"},
    {"garbage before what counts", "\n:\n::\n:::\nmemory\n7:memory\n7:memory:/x\n",
     "\n \n-\n - \n1 2 3\n1 2 3 4 5\n1 2 3 4 5 - \n1 2 3 4 5 6 -\n1 2 3 4 5 6 - cgroup\n"
     "1 2 3 4 5 6 - cgroup x\n" MOUNT_V1("/", "/cg"),
     "1 /cg/x\n"},
};

/* All groups with the memory controller, as the table has them. */
static void all_groups(const char *cgroup, const char *mountinfo, char *found, size_t room)
{
    struct pye_cgroup group;
    found[0] = '\0';
    while (pye_cgroup_next(cgroup, &mountinfo, "memory", &group)) {
        size_t length = strlen(found);
        snprintf(found + length, room - length, "%d %s\n", group.unified ? 2 : 1, group.directory);
    }
}

static void recorded_texts(void **state)
{
    char found[TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        all_groups(recorded[i].cgroup, recorded[i].mountinfo, found, sizeof found);
        if (strcmp(found, recorded[i].groups) != 0)
            fail_msg("%s: '%s'", recorded[i].name, found);
    }
}

/* From the group to the mount's top, never above it. */
static void upwards(void **state)
{
    static const char *const mounts_text = MOUNT_V1("/", "/sys/fs/cgroup/memory");
    static const char *const above[] = {"/sys/fs/cgroup/memory/a b", "/sys/fs/cgroup/memory"};
    const char *mounts = mounts_text;
    struct pye_cgroup group;
    (void)state;
    assert_true(pye_cgroup_next("5:memory:/a b/c:d\n", &mounts, "memory", &group));
    for (size_t i = 0; i < sizeof above / sizeof *above; i++) {
        assert_true(pye_cgroup_up(&group));
        assert_string_equal(group.directory, above[i]);
    }
    assert_false(pye_cgroup_up(&group));
    assert_string_equal(group.directory, above[1]);
}

/* A copy that ends where its memory does: a reader that goes too far is seen by the sanitizer. */
static char *exactly(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* Each beginning of each text, and each text with a byte changed: no answer is wrong, but it comes to an end. */
static void truncated_and_damaged(void **state)
{
    static const char bytes[] = {'\n', ':', ' ', '\\', '-', '/', ',', '7', (char)0xff};
    char found[TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        size_t length = strlen(recorded[i].cgroup), mounts = strlen(recorded[i].mountinfo);
        for (size_t n = 0; n <= mounts; n++) {
            char *cgroup = exactly(recorded[i].cgroup, n < length ? n : length);
            char *mountinfo = exactly(recorded[i].mountinfo, n);
            all_groups(cgroup, recorded[i].mountinfo, found, sizeof found);
            all_groups(recorded[i].cgroup, mountinfo, found, sizeof found);
            for (size_t b = 0; n > 0 && b < sizeof bytes; b++) {
                char kept = mountinfo[n - 1];
                mountinfo[n - 1] = bytes[b];
                all_groups(recorded[i].cgroup, mountinfo, found, sizeof found);
                mountinfo[n - 1] = kept;
            }
            free(cgroup);
            free(mountinfo);
        }
    }
}

/* Names that are too long are not cut: no group is found rather than another. */
static void long_names(void **state)
{
    static const size_t lengths[] = {PATH_MAX - 40, PATH_MAX - 4, PATH_MAX - 3,
                                     PATH_MAX - 1,  PATH_MAX,     (size_t)3 * PATH_MAX};
    struct pye_cgroup group;
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *mounts = MOUNT_V1("/", "/cg");
        char *text = malloc(lengths[i] + 64);
        assert_non_null(text);
        int begin = snprintf(text, 64, "7:memory:/");
        memset(text + begin, 'x', lengths[i] - 1);
        text[begin + lengths[i] - 1] = '\0';
        bool fits = lengths[i] + strlen("/cg") < PATH_MAX;
        assert_int_equal(pye_cgroup_next(text, &mounts, "memory", &group), fits);
        if (fits)
            assert_int_equal(strlen(group.directory), lengths[i] + strlen("/cg"));
        free(text);
    }
}

static void counters(void **state)
{
    static const struct {
        const char *text, *key;
        int64_t value;
    } cases[] = {
        {"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill", 3},
        {"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", "oom_kill", 1},
        {"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", "oom", 2},
        {"oom_kill_disable 0\nunder_oom 0\n", "oom_kill", -1}, /* a kernel before 4.13 */
        {"67108864\n", NULL, 67108864},
        {"0", NULL, 0},
        {"9223372036854771712\n", NULL, INT64_C(9223372036854771712)},
        {"9223372036854775807\n", NULL, INT64_MAX},
        {"9223372036854775808\n", NULL, -1},
        {"99999999999999999999999999999999\n", NULL, -1},
        {"max\n", NULL, -1},
        {"-1\n", NULL, -1},
        {"", NULL, -1},
        {"\n", NULL, -1},
        {"", "oom_kill", -1},
        {"oom_kill", "oom_kill", -1},
        {"oom_kill ", "oom_kill", -1},
        {"oom_kill\n5\n", "oom_kill", -1},
        {"oom_kill  5\n", "oom_kill", -1},
        {"oom_kill 5x\n", "oom_kill", -1},
        {"oom_kill 5", "oom_kill", 5},
        {" oom_kill 5\n", "oom_kill", -1},
        {"xoom_kill 5\noom_kill 6\n", "oom_kill", 6},
        {"oom_kill max\noom_kill 6\n", "oom_kill", 6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = exactly(cases[i].text, strlen(cases[i].text));
        int64_t value = pye_parse_counter(text, cases[i].key);
        free(text);
        if (value != cases[i].value)
            fail_msg("'%s' %s: %lld", cases[i].text, cases[i].key ? cases[i].key : "", (long long)value);
    }
}

/* --- a double of the files --- */

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_group(struct pye_cgroup *group, bool unified)
{
    snprintf(group->directory, sizeof group->directory, "/tmp/pyentry-test-XXXXXX");
    assert_non_null(mkdtemp(group->directory));
    group->top = strlen(group->directory);
    group->unified = unified;
}

static void remove_group(const struct pye_cgroup *group)
{
    static const char *const names[] = {"memory.events", "memory.max", "memory.peak", "memory.oom_control",
                                        "memory.limit_in_bytes", "memory.max_usage_in_bytes"};
    char path[PATH_MAX + 64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", group->directory, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(group->directory), 0);
}

static void states(void **state)
{
    struct pye_cgroup group;
    struct pye_memory_state memory;
    (void)state;
    make_group(&group, true);
    pye_memory_state_read(&group, &memory); /* nothing there */
    assert_true(memory.oom_kills == -1 && memory.limit == -1 && memory.peak == -1);
    write_file(group.directory, "memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 4\n");
    write_file(group.directory, "memory.max", "max\n");
    write_file(group.directory, "memory.peak", "1048576\n");
    pye_memory_state_read(&group, &memory);
    assert_true(memory.oom_kills == 4 && memory.limit == -1 && memory.peak == 1048576);
    remove_group(&group);

    make_group(&group, false);
    write_file(group.directory, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    write_file(group.directory, "memory.limit_in_bytes", "67108864\n");
    write_file(group.directory, "memory.max_usage_in_bytes", "67104768\n");
    pye_memory_state_read(&group, &memory);
    assert_true(memory.oom_kills == 2 && memory.limit == 67108864 && memory.peak == 67104768);
    remove_group(&group);
}

/* What the verdict on a SIGKILL writes to stderr. */
static void verdict_line(const struct pye_verdict *verdict, char *line, size_t room)
{
    struct pye_options options = {.python.term_status = PYE_BY_SIGNAL};
    struct pye_stop stop = {.began = 0};
    int ends[2], kept = dup(STDERR_FILENO);
    assert_true(kept >= 0);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    int status = pye_verdict_give(verdict, SIGKILL, &stop, &options);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    close(ends[1]);
    ssize_t length = read(ends[0], line, room - 1);
    close(ends[0]);
    line[length < 0 ? 0 : length] = '\0';
    assert_int_equal(status, 128 + SIGKILL);
}

static void version_two_is_named(void **state)
{
    struct pye_verdict verdict = {.started = pye_milliseconds(), .has_memory = true, .oom_kills = 1};
    char line[TEXT_BYTES];
    (void)state;
    make_group(&verdict.memory, true);
    write_file(verdict.memory.directory, "memory.max", "67108864\n");
    write_file(verdict.memory.directory, "memory.peak", "67108864\n");
    write_file(verdict.memory.directory, "memory.events", "oom 5\noom_kill 1\n"); /* as before the start */
    verdict_line(&verdict, line, sizeof line);
    assert_string_equal(line, "pyentry: Python was ended by signal 9 (Killed) after 0.0 s\n");

    write_file(verdict.memory.directory, "memory.events", "oom 6\noom_kill 2\n");
    verdict_line(&verdict, line, sizeof line);
    assert_string_equal(line, "pyentry: Python was ended by signal 9 (Killed) after 0.0 s: out of memory, by the "
                              "kernel's OOM killer, limit 64 MiB, peak 64 MiB\n");

    write_file(verdict.memory.directory, "memory.max", "max\n");
    verdict_line(&verdict, line, sizeof line);
    assert_null(strstr(line, "limit"));

    verdict.oom_kills = -1; /* it could not be read then: what is counted now may be old */
    verdict_line(&verdict, line, sizeof line);
    assert_null(strstr(line, "memory"));
    remove_group(&verdict.memory);
}

/* Version 1 writes "no limit" as a number. */
static void no_limit_is_not_named(void **state)
{
    struct pye_verdict verdict = {.started = pye_milliseconds(), .has_memory = true, .oom_kills = 0};
    char line[TEXT_BYTES];
    (void)state;
    make_group(&verdict.memory, false);
    write_file(verdict.memory.directory, "memory.oom_control", "oom_kill 1\n");
    write_file(verdict.memory.directory, "memory.limit_in_bytes", "9223372036854771712\n");
    write_file(verdict.memory.directory, "memory.max_usage_in_bytes", "1048576\n");
    verdict_line(&verdict, line, sizeof line);
    assert_non_null(strstr(line, "out of memory"));
    assert_null(strstr(line, "limit"));
    remove_group(&verdict.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_texts),
        cmocka_unit_test(upwards),
        cmocka_unit_test(truncated_and_damaged),
        cmocka_unit_test(long_names),
        cmocka_unit_test(counters),
        cmocka_unit_test(states),
        cmocka_unit_test(version_two_is_named),
        cmocka_unit_test(no_limit_is_not_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
