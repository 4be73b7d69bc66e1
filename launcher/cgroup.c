#include "launcher/cgroup.h"

#include "launcher/values.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOUNT_ROOT = 3, MOUNT_POINT = 4, COUNTER_BYTES = 4096 };

static const int64_t NO_LIMIT = INT64_C(1) << 60;

/* --- text --- */

/* Copies the field of a line that begins at text and ends at end, octal escapes undone. False when it is too long. */
static bool copy_field(char *out, size_t room, const char *text, const char *end)
{
    size_t length = 0;
    while (text < end) {
        char byte = *text++;
        if (byte == '\\' && end - text >= 3 && text[0] >= '0' && text[0] <= '3') {
            byte = (char)((text[0] - '0') * 64 + (text[1] - '0') * 8 + (text[2] - '0'));
            text += 3;
        }
        if (length + 1 >= room)
            return false;
        out[length++] = byte;
    }
    out[length] = '\0';
    return true;
}

static const char *line_end(const char *line)
{
    const char *end = strchr(line, '\n');
    return end == NULL ? line + strlen(line) : end;
}

/* Whether word is one of the comma-separated words from text to end. */
static bool has_word(const char *text, const char *end, const char *word)
{
    size_t length = strlen(word);
    while (text < end) {
        size_t here = strcspn(text, ",\n: ");
        if (here > (size_t)(end - text))
            here = (size_t)(end - text);
        if (here == length && strncmp(text, word, length) == 0)
            return true;
        text += here + 1;
    }
    return false;
}

int64_t pye_parse_counter(const char *text, const char *key)
{
    for (const char *line = text; *line != '\0';) {
        const char *end = line_end(line), *value = line;
        if (key != NULL) {
            size_t length = strlen(key);
            value = strncmp(line, key, length) == 0 && line[length] == ' ' ? line + length + 1 : NULL;
        }
        char digits[24];
        long number;
        if (value != NULL && copy_field(digits, sizeof digits, value, end)
            && pye_parse_number(digits, 0, LONG_MAX, &number))
            return number;
        line = end + (*end == '\n');
    }
    return -1;
}

/* --- where the group is --- */

/* The path in /proc/self/cgroup of the hierarchy with this controller, or of version 2 for NULL. */
static bool group_path(const char *cgroup, const char *controller, char *out, size_t room)
{
    for (const char *line = cgroup; *line != '\0';) {
        const char *end = line_end(line);
        const char *controllers = memchr(line, ':', (size_t)(end - line));
        const char *path = controllers == NULL ? NULL : memchr(controllers + 1, ':', (size_t)(end - controllers - 1));
        if (path != NULL
            && (controller == NULL ? path == controllers + 1 : has_word(controllers + 1, path, controller)))
            return copy_field(out, room, path + 1, end); /* it may hold colons of its own */
        line = end + (*end == '\n');
    }
    return false;
}

struct mount {
    char root[PATH_MAX], point[PATH_MAX];
};

/* Reads one line of mountinfo. False when it is not a cgroup mount with this controller (NULL: version 2). */
static bool parse_mount(const char *line, const char *end, const char *controller, struct mount *mount)
{
    const char *field[5], *text = line;
    for (int i = 0; i < 5; i++) {
        field[i] = text;
        text = memchr(text, ' ', (size_t)(end - text));
        if (text == NULL)
            return false;
        text++;
    }
    /* After optional fields, a lonely dash: type, source, options. */
    const char *type = memmem(text, (size_t)(end - text), " - ", 3);
    if (type == NULL)
        return false;
    type += 3;
    const char *source = memchr(type, ' ', (size_t)(end - type));
    const char *options = source == NULL ? NULL : memchr(source + 1, ' ', (size_t)(end - source - 1));
    const char *wanted = controller == NULL ? "cgroup2 " : "cgroup ";
    if (options == NULL || strncmp(type, wanted, strlen(wanted)) != 0)
        return false;
    if (controller != NULL && !has_word(options + 1, end, controller))
        return false;
    return copy_field(mount->root, sizeof mount->root, field[MOUNT_ROOT], field[MOUNT_ROOT + 1] - 1)
           && copy_field(mount->point, sizeof mount->point, field[MOUNT_POINT], text - 1);
}

/* The directory of path under this mount, or, with nearest, the mount's own top where the path is outside of it. */
static bool place(const struct mount *mount, const char *path, bool nearest, char *out, size_t room)
{
    size_t root = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);
    bool inside = strncmp(path, mount->root, root) == 0 && (path[root] == '/' || path[root] == '\0')
                  && strstr(path, "/..") == NULL;
    const char *rest = inside && strcmp(path + root, "/") != 0 ? path + root : "";
    return (inside || nearest) && (size_t)snprintf(out, room, "%s%s", mount->point, rest) < room;
}

/* Looks through the mounts: a hierarchy may be mounted more than once. */
static bool find_mount(const char *mountinfo, const char *controller, const char *path, bool nearest, char *out,
                       size_t room)
{
    struct mount mount;
    for (const char *line = mountinfo; *line != '\0';) {
        const char *end = line_end(line);
        if (parse_mount(line, end, controller, &mount) && place(&mount, path, nearest, out, room))
            return true;
        line = end + (*end == '\n');
    }
    return false;
}

static bool find(const char *cgroup, const char *mountinfo, const char *controller, char *out, size_t room)
{
    char path[PATH_MAX];
    return group_path(cgroup, controller, path, sizeof path)
           && (find_mount(mountinfo, controller, path, false, out, room)
               || find_mount(mountinfo, controller, path, true, out, room));
}

bool pye_memory_group_parse(const char *cgroup, const char *mountinfo, struct pye_memory_group *group)
{
    /* Where both are mounted, the controller is in one of them: version 1 names it. */
    group->unified = false;
    if (find(cgroup, mountinfo, "memory", group->directory, sizeof group->directory))
        return true;
    group->unified = true;
    return find(cgroup, mountinfo, NULL, group->directory, sizeof group->directory);
}

/* --- files --- */

/* The text of a file, up to room - 1 bytes; empty where it cannot be read. */
static void read_text(const char *path, char *out, size_t room)
{
    size_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    out[0] = '\0';
    if (fd < 0)
        return;
    for (ssize_t got; length < room - 1 && (got = read(fd, out + length, room - 1 - length)) > 0;)
        length += (size_t)got;
    close(fd);
    out[length] = '\0';
}

bool pye_memory_group_find(struct pye_memory_group *group)
{
    char *cgroup = malloc(PYE_CGROUP_FILE_BYTES), *mountinfo = malloc(PYE_CGROUP_FILE_BYTES);
    bool found = false;
    if (cgroup != NULL && mountinfo != NULL) {
        read_text("/proc/self/cgroup", cgroup, PYE_CGROUP_FILE_BYTES);
        read_text("/proc/self/mountinfo", mountinfo, PYE_CGROUP_FILE_BYTES);
        found = pye_memory_group_parse(cgroup, mountinfo, group);
    }
    free(cgroup);
    free(mountinfo);
    return found;
}

static int64_t read_counter(const struct pye_memory_group *group, const char *file, const char *key)
{
    char path[PATH_MAX + 64], text[COUNTER_BYTES];
    snprintf(path, sizeof path, "%s/%s", group->directory, file);
    read_text(path, text, sizeof text);
    return pye_parse_counter(text, key);
}

void pye_memory_state_read(const struct pye_memory_group *group, struct pye_memory_state *state)
{
    bool unified = group->unified;
    state->oom_kills = read_counter(group, unified ? "memory.events" : "memory.oom_control", "oom_kill");
    state->limit = read_counter(group, unified ? "memory.max" : "memory.limit_in_bytes", NULL);
    if (state->limit >= NO_LIMIT) /* version 1's word for none: an ancestor has it */
        state->limit = -1;
    state->peak = read_counter(group, unified ? "memory.peak" : "memory.max_usage_in_bytes", NULL);
}
