#include "launcher/descendants.h"

#include "launcher/values.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* pid, comm (16 bytes at most), state, ppid: the beginning of a stat file is enough. */
enum { STAT_BYTES = 256, PID_LIMIT = 1 << 22 };

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

static int append(pid_t **list, size_t *count, pid_t pid)
{
    /* Grows at each power of two. */
    if ((*count & (*count - 1)) == 0) {
        pid_t *grown = realloc(*list, (*count ? *count * 2 : 1) * sizeof **list);
        if (grown == NULL)
            return -1;
        *list = grown;
    }
    (*list)[(*count)++] = pid;
    return 0;
}

pid_t *pye_children(pid_t parent, size_t *count)
{
    pid_t *list = NULL;
    *count = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return NULL;
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        long pid;
        char state;
        if (!pye_parse_number(entry->d_name, 1, PID_LIMIT, &pid))
            continue;
        if (parent_of(dirfd(proc), entry->d_name, &state) != parent || state == 'Z')
            continue;
        if (append(&list, count, (pid_t)pid) < 0)
            break;
    }
    closedir(proc);
    return list;
}
