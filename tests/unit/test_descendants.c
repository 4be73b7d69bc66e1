/* launcher/descendants: who is below us, whatever the processes call themselves. */
#include "tests/unit/check.h"

#include "launcher/descendants.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void stat_lines(void **state)
{
    static const struct {
        const char *text;
        pid_t parent;
        char state;
    } cases[] = {
        {"42 (sh) S 7 42 42 0", 7, 'S'},
        {"42 (a) R 1 b) Z 9 42", 9, 'Z'}, /* the name is "a) R 1 b" */
        {"42 (()) S 7 1", 7, 'S'},
        {"42 () S 0 1", 0, 'S'},
        {"42 (\n) D 7 1", 7, 'D'},
        {"", -1, '?'},
        {"42 (sh", -1, '?'},
        {"42 (sh)", -1, '?'},
        {"42 (sh) ", -1, '?'},
        {"42 (sh) S", -1, '?'},
        {"42 (sh) S ", -1, '?'},
        {"42 (sh) S -1 2", -1, '?'},
        {"42 (sh) S x 2", -1, '?'},
        {"42 (sh) S 99999999999999999999 2", -1, '?'},
        {"42 (sh) SS 7 2", -1, '?'},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char letter = '?';
        pid_t parent = pye_parse_stat(cases[i].text, &letter);
        if (parent != cases[i].parent || letter != cases[i].state)
            fail_msg("'%s': %d %c", cases[i].text, (int)parent, letter);
    }
}

/* Starts a child that calls itself name and sits there until it is killed, or is a zombie at once. */
static pid_t start(const char *name, bool zombie)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_NAME, name);
        if (zombie || write(ready[1], "r", 1) != 1)
            _exit(0);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), zombie ? 0 : 1); /* 0: it has ended */
    close(ready[0]);
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool lists(pid_t pid)
{
    size_t count;
    bool found = false;
    pid_t *children = pye_children(&count);
    for (size_t i = 0; i < count; i++)
        found = found || children[i] == pid;
    free(children);
    return found;
}

/* As both ways to find out say. */
static bool is_child(pid_t pid)
{
    assert_int_equal(lists(pid), pye_is_child(pid));
    return pye_is_child(pid);
}

static void children(void **state)
{
    size_t count;
    (void)state;
    free(pye_children(&count));
    assert_int_equal(count, 0);

    pid_t plain = start("plain", false), strange = start(") S 1 (", false), dead = start("dead", true);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT), 0);
    assert_true(is_child(plain));
    assert_true(is_child(strange));
    assert_false(is_child(dead));
    assert_false(is_child(getpid()));
    stop(plain);
    stop(strange);
    stop(dead);
    assert_false(is_child(plain));
}

static bool is_below(pid_t pid)
{
    size_t count;
    bool found = false;
    pid_t *below = pye_descendants(&count);
    for (size_t i = 0; i < count; i++)
        found = found || below[i] == pid;
    free(below);
    return found;
}

static void noted_children(void **state)
{
    (void)state;
    pye_children_note();
    assert_int_equal(pye_children_noted(), 0);

    pid_t earlier = start("earlier", false);
    pye_children_note();
    assert_int_equal(pye_children_noted(), 1);
    pid_t later = start("later", false);
    assert_false(lists(earlier) || is_below(earlier));
    assert_true(lists(later) && is_below(later));

    pye_children_note(); /* anew: all are earlier now */
    assert_int_equal(pye_children_noted(), 2);
    assert_false(lists(later));
    stop(earlier);
    stop(later);
    pye_children_note();
    assert_int_equal(pye_children_noted(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_lines),
        cmocka_unit_test(children),
        cmocka_unit_test(noted_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
