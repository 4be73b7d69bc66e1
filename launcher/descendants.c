#include "launcher/descendants.h"

#include "launcher/values.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* pid, comm (16 bytes at most), state, ppid: the beginning of a stat file is enough. */
enum { STAT_BYTES = 256, STATUS_BYTES = 4096, PID_BYTES = 16, PID_LIMIT = 1 << 22 };

pid_t pye_parse_stat(const char *text, char *state)
{
    /* comm may hold anything, also ") R 1": the last parenthesis ends it. */
    const char *end = strrchr(text, ')');
    if (end == NULL || end[1] != ' ' || end[2] == '\0' || end[3] != ' ')
        return -1;
    char digits[16];
    size_t length = strcspn(end + 4, " ");
    long parent;
    if (length >= sizeof digits)
        return -1;
    memcpy(digits, end + 4, length);
    digits[length] = '\0';
    if (!pye_parse_number(digits, 0, PID_LIMIT, &parent))
        return -1;
    *state = end[2];
    return (pid_t)parent;
}

static pid_t parent_of(int proc, const char *name, char *state)
{
    char path[32], text[STAT_BYTES];
    if (snprintf(path, sizeof path, "%s/stat", name) >= (int)sizeof path)
        return -1;
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1; /* it has ended meanwhile */
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return -1;
    text[length] = '\0';
    return pye_parse_stat(text, state);
}

bool pye_is_child(pid_t pid)
{
    char path[32], state = 'Z';
    snprintf(path, sizeof path, "/proc/%ld", (long)pid);
    return parent_of(AT_FDCWD, path, &state) == getpid() && state != 'Z';
}

struct process {
    pid_t pid, parent;
    bool below;
};

struct table {
    struct process *row;
    size_t count;
};

static bool table_append(struct table *table, struct process process)
{
    /* Grows at each power of two. */
    if ((table->count & (table->count - 1)) == 0) {
        struct process *grown = realloc(table->row, (table->count ? table->count * 2 : 1) * sizeof *grown);
        if (grown == NULL)
            return false;
        table->row = grown;
    }
    table->row[table->count++] = process;
    return true;
}

bool pye_proc_is_ours(void)
{
    char target[PID_BYTES];
    long pid;
    ssize_t length = readlink("/proc/self", target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    return pye_parse_number(target, 1, PID_LIMIT, &pid) && pid == getpid();
}

/* Everybody but the zombies. */
static struct table read_processes(void)
{
    struct table table = {NULL, 0};
    if (!pye_proc_is_ours())
        return table;
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return table;
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        long pid;
        char state = 'Z';
        if (!pye_parse_number(entry->d_name, 1, PID_LIMIT, &pid))
            continue;
        pid_t parent = parent_of(dirfd(proc), entry->d_name, &state);
        if (parent >= 0 && state != 'Z' && !table_append(&table, (struct process){(pid_t)pid, parent, false}))
            break;
    }
    closedir(proc);
    return table;
}

/* Marks the children of pid; true when there are new ones. */
static bool mark_children(struct table *table, pid_t pid)
{
    bool any = false;
    for (size_t i = 0; i < table->count; i++) {
        struct process *process = &table->row[i];
        if (process->parent == pid && !process->below)
            any = process->below = true;
    }
    return any;
}

static pid_t *take_marked(struct table *table, size_t *count)
{
    pid_t *list = malloc((table->count ? table->count : 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; list != NULL && i < table->count; i++) {
        if (table->row[i].below)
            list[(*count)++] = table->row[i].pid;
    }
    free(table->row);
    return list;
}

/* Numbers only: after a whole turn of the kernel's, one of them may be a child of Python's, which then hears of a SIGTERM
 * later than others. */
static struct {
    pid_t *pid;
    size_t count;
} noted;

static bool is_noted(pid_t pid)
{
    for (size_t i = 0; i < noted.count; i++) {
        if (noted.pid[i] == pid)
            return true;
    }
    return false;
}

static struct table read_others(void)
{
    struct table table = read_processes();
    size_t kept = 0;
    for (size_t i = 0; i < table.count; i++) {
        if (!is_noted(table.row[i].pid))
            table.row[kept++] = table.row[i];
    }
    table.count = kept;
    return table;
}

pid_t *pye_children(size_t *count)
{
    struct table table = read_others();
    mark_children(&table, getpid());
    return take_marked(&table, count);
}

void pye_children_note(void)
{
    siginfo_t info;
    free(noted.pid);
    noted.pid = NULL;
    noted.count = 0;
    /* A look, nothing is reaped; it fails where there is no child. */
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return;
    noted.pid = pye_children(&noted.count);
}

size_t pye_children_noted(void)
{
    return noted.count;
}

pid_t *pye_descendants(size_t *count)
{
    struct table table = read_others();
    bool more = mark_children(&table, getpid());
    while (more) { /* a generation a turn, or more */
        more = false;
        for (size_t i = 0; i < table.count; i++) {
            if (table.row[i].below)
                more = mark_children(&table, table.row[i].pid) || more;
        }
    }
    return take_marked(&table, count);
}

static bool in_mask(const char *status, const char *name, int number)
{
    const char *mask = strstr(status, name);
    return mask != NULL && (strtoull(mask + strlen(name), NULL, 16) >> (number - 1) & 1) != 0;
}

bool pye_catches(pid_t pid, int number)
{
    char path[32], text[STATUS_BYTES];
    if (!pye_proc_is_ours())
        return false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return in_mask(text, "\nSigCgt:\t", number) && !in_mask(text, "\nSigBlk:\t", number);
}
