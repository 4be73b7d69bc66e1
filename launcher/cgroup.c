#include "launcher/cgroup.h"

#include "launcher/values.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOUNT_ROOT = 3, MOUNT_POINT = 4, MOUNT_FIELDS = 5 };

/* --- text --- */

struct span {
    const char *begin, *end;
};

/* Takes a line from text, without its newline. False when nothing is left. */
static bool take_line(const char **text, struct span *line)
{
    if (**text == '\0')
        return false;
    line->begin = *text;
    line->end = strchrnul(*text, '\n');
    *text = line->end + (*line->end == '\n');
    return true;
}

/* Takes what is before the separator from the line, and the separator. False when there is none. */
static bool take_field(struct span *line, char separator, struct span *field)
{
    const char *found = memchr(line->begin, separator, (size_t)(line->end - line->begin));
    if (found == NULL)
        return false;
    *field = (struct span){line->begin, found};
    line->begin = found + 1;
    return true;
}

static bool is(struct span text, const char *word)
{
    size_t length = (size_t)(text.end - text.begin);
    return strlen(word) == length && memcmp(text.begin, word, length) == 0;
}

/* Whether it is one of the comma-separated words. */
static bool has_word(struct span words, const char *word)
{
    struct span one;
    while (take_field(&words, ',', &one)) {
        if (is(one, word))
            return true;
    }
    return is(words, word);
}

/* Copies text, octal escapes undone. False when it is too long. */
static bool copy(char *out, size_t room, struct span text)
{
    size_t length = 0;
    while (text.begin < text.end) {
        char byte = *text.begin++;
        if (byte == '\\' && text.end - text.begin >= 3 && text.begin[0] >= '0' && text.begin[0] <= '3') {
            byte = (char)((text.begin[0] - '0') * 64 + (text.begin[1] - '0') * 8 + (text.begin[2] - '0'));
            text.begin += 3;
        }
        if (length + 1 >= room)
            return false;
        out[length++] = byte;
    }
    out[length] = '\0';
    return true;
}

int64_t pye_parse_counter(const char *text, const char *key)
{
    struct span line, word;
    while (take_line(&text, &line)) {
        char digits[24];
        long number;
        if (key != NULL && !(take_field(&line, ' ', &word) && is(word, key)))
            continue;
        if (copy(digits, sizeof digits, line) && pye_parse_number(digits, 0, LONG_MAX, &number))
            return number;
    }
    return -1;
}

/* --- where the group is --- */

/* The path of the hierarchy with this controller, or of version 2 for NULL, as /proc/self/cgroup has it: no escapes,
 * and it may hold colons of its own. */
static bool find_path(const char *groups, const char *controller, struct span *path)
{
    struct span number, controllers;
    while (take_line(&groups, path)) {
        if (take_field(path, ':', &number) && take_field(path, ':', &controllers)
            && (controller == NULL ? is(controllers, "") : has_word(controllers, controller)))
            return true;
    }
    return false;
}

struct mount {
    struct span root, point, options;
    bool unified;
};

/* Reads a line of mountinfo. False when it is no mount of control groups. */
static bool parse_mount(struct span line, struct mount *mount)
{
    struct span field[MOUNT_FIELDS], type, source;
    for (int i = 0; i < MOUNT_FIELDS; i++) {
        if (!take_field(&line, ' ', &field[i]))
            return false;
    }
    /* After optional fields, a lonely dash: type, source, options. */
    const char *dash = memmem(line.begin, (size_t)(line.end - line.begin), " - ", 3);
    if (dash == NULL)
        return false;
    line.begin = dash + 3;
    if (!take_field(&line, ' ', &type) || !take_field(&line, ' ', &source))
        return false;
    *mount = (struct mount){field[MOUNT_ROOT], field[MOUNT_POINT], line, is(type, "cgroup2")};
    return mount->unified || is(type, "cgroup");
}

/* In a cgroup namespace, /.. is above what the namespace shows. */
static bool begins_above(const char *path)
{
    return strncmp(path, "/..", 3) == 0 && (path[3] == '/' || path[3] == '\0');
}

/* Whether it is nothing but /../.. */
static bool only_above(const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < length; i += 3) {
        if (!begins_above(path + i))
            return false;
    }
    return true;
}

/* What is behind root in path, "" where path itself is unknown but below; NULL where root does not lead to path. */
static const char *below(const char *root, const char *path)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    bool inside = strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
    if (inside && !begins_above(path + length))
        return strcmp(path + length, "/") == 0 ? "" : path + length;
    return !inside && only_above(root) ? "" : NULL;
}

/* The group's directory under this mount. */
static bool place(const struct mount *mount, struct span path, struct pye_cgroup *group)
{
    char root[PATH_MAX], name[PATH_MAX];
    size_t length = (size_t)(path.end - path.begin);
    if (length >= sizeof name || !copy(root, sizeof root, mount->root)
        || !copy(group->directory, sizeof group->directory, mount->point))
        return false;
    memcpy(name, path.begin, length);
    name[length] = '\0';
    const char *rest = below(root, name);
    group->top = strlen(group->directory);
    group->unified = mount->unified;
    if (rest == NULL || group->top + strlen(rest) >= sizeof group->directory)
        return false;
    memcpy(group->directory + group->top, rest, strlen(rest) + 1);
    return true;
}

bool pye_cgroup_next(const char *groups, const char **mounts, const char *controller, struct pye_cgroup *group)
{
    struct span line, path;
    struct mount mount;
    while (take_line(mounts, &line)) {
        if (parse_mount(line, &mount) && (mount.unified || has_word(mount.options, controller))
            && find_path(groups, mount.unified ? NULL : controller, &path) && place(&mount, path, group))
            return true;
    }
    return false;
}

bool pye_cgroup_up(struct pye_cgroup *group)
{
    char *slash = strrchr(group->directory + group->top, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* --- files --- */

/* The text of a file, up to room - 1 bytes. The buffers here are small: a thread may have a stack of 32 KB. */
static bool read_text(const char *root, const char *directory, const char *file, char *text, size_t room)
{
    char path[PATH_MAX + NAME_MAX];
    size_t length = 0;
    ssize_t got = -1;
    if ((size_t)snprintf(path, sizeof path, "%s%s/%s", root, directory, file) >= sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (length < room - 1 && (got = read(fd, text + length, room - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
    return got >= 0;
}

/* A list in /proc; of one that is too long the whole lines. */
static char *read_list(const char *root, const char *file)
{
    char *text = malloc(PYE_CGROUP_LIST_BYTES);
    if (text == NULL || !read_text(root, "/proc/self", file, text, PYE_CGROUP_LIST_BYTES)) {
        free(text);
        return NULL;
    }
    char *newline = strlen(text) == PYE_CGROUP_LIST_BYTES - 1 ? strrchr(text, '\n') : NULL;
    if (newline != NULL)
        newline[1] = '\0';
    return text;
}

bool pye_cgroup_open(struct pye_cgroup_lists *lists, const char *root)
{
    lists->groups = read_list(root, "cgroup");
    lists->mounts = lists->groups == NULL ? NULL : read_list(root, "mountinfo");
    return lists->mounts != NULL;
}

void pye_cgroup_close(struct pye_cgroup_lists *lists)
{
    free(lists->groups);
    free(lists->mounts);
}

bool pye_cgroup_read(const char *root, const struct pye_cgroup *group, const char *file, char *text)
{
    return read_text(root, group->directory, file, text, PYE_CGROUP_FILE_BYTES);
}

bool pye_cgroup_climb(const char *root, struct pye_cgroup *group, pye_cgroup_reader *read, struct pye_limit *least)
{
    bool any = false;
    do {
        int64_t value;
        const char *file;
        if (!read(root, group, &value, &file))
            continue;
        any = true;
        if (value == PYE_NO_LIMIT || (least->value != PYE_NO_LIMIT && value >= least->value))
            continue;
        least->value = value;
        snprintf(least->source, sizeof least->source, "%s/%s", group->directory, file);
    } while (pye_cgroup_up(group));
    return any;
}

bool pye_cgroup_least(const char *root, const char *controller, pye_cgroup_reader *read, struct pye_limit *least)
{
    struct pye_cgroup_lists lists;
    struct pye_cgroup group;
    bool any = false;
    least->value = PYE_NO_LIMIT;
    least->source[0] = '\0';
    if (pye_cgroup_open(&lists, root)) {
        const char *mounts = lists.mounts;
        while (pye_cgroup_next(lists.groups, &mounts, controller, &group))
            any |= pye_cgroup_climb(root, &group, read, least);
    }
    pye_cgroup_close(&lists);
    return any;
}
