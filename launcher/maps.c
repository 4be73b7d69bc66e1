#include "launcher/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

ssize_t pye_maps_read(char *room, size_t size)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got = 0;
    if (fd < 0)
        return -1;
    while (length + 1 < size && (got = read(fd, room + length, size - 1 - length)) > 0)
        length += (size_t)got;
    int error = errno;
    close(fd);
    errno = got < 0 ? error : EFBIG;
    if (got < 0 || length + 1 == size)
        return -1;
    room[length] = '\0';
    return (ssize_t)length;
}

/* A number, and the character behind it. */
static bool take_number(char **at, int base, char behind, uint64_t *number)
{
    char *end;
    if (**at == ' ' || **at == '-' || **at == '+')
        return false;
    errno = 0;
    *number = strtoull(*at, &end, base);
    if (end == *at || *end != behind || errno != 0)
        return false;
    *at = end + 1;
    return true;
}

static bool take_flags(char **at, struct pye_map *map)
{
    const char *flags = *at;
    if (strnlen(flags, 5) < 5 || flags[4] != ' ')
        return false;
    map->protection = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0)
                      | (flags[2] == 'x' ? PROT_EXEC : 0);
    map->shared = flags[3] == 's';
    *at += 5;
    return true;
}

bool pye_maps_next(char **text, struct pye_map *map)
{
    char *at = *text, *end = strchr(at, '\n');
    uint64_t ignored;
    if (end == NULL)
        return false;
    *end = '\0';
    *text = end + 1;
    if (!take_number(&at, 16, '-', &map->start) || !take_number(&at, 16, ' ', &map->end) || !take_flags(&at, map)
        || !take_number(&at, 16, ' ', &ignored) || !take_number(&at, 16, ':', &ignored)
        || !take_number(&at, 16, ' ', &ignored))
        return false;
    map->inode = strtoull(at, &at, 10);
    map->name = at + strspn(at, " ");
    return map->start < map->end;
}

/* --- what stays --- */

void pye_keep(struct pye_kept *kept, uint64_t start, uint64_t end)
{
    size_t place = kept->count;
    if (kept->count == PYE_KEPT)
        return;
    for (; place > 0 && kept->ranges[place - 1].start > start; place--)
        kept->ranges[place] = kept->ranges[place - 1];
    kept->ranges[place].start = start;
    kept->ranges[place].end = end;
    kept->count++;
}

bool pye_is_kernels(const struct pye_map *map)
{
    return strcmp(map->name, "[stack]") == 0 || strncmp(map->name, "[v", 2) == 0;
}

bool pye_gap_behind(const struct pye_kept *kept, size_t index, uint64_t *start, uint64_t *end)
{
    *start = 0;
    for (size_t i = 0; i <= index; i++) { /* one may lie inside of another */
        if (kept->ranges[i].end > *start)
            *start = kept->ranges[i].end;
    }
    *end = index + 1 < kept->count ? kept->ranges[index + 1].start : PYE_MEMORY_END;
    return *start < *end;
}
