#include "embed/bundle/mark.h"

#include "embed/embed.h"
#include "launcher/crc32.h"

#include <stddef.h>

#define NAME {'p', 'y', 'e', 'n', 't', 'r', 'y', ' ', 'b', 'u', 'n', 'd', 'l', 'e', ' ', '1'}

/* Volatile: the compiler must not know what the builder changes. In .data, so that it is in the file. */
static volatile struct pye_mark in_file __attribute__((section(".data"))) = {.name = NAME};

static uint32_t checksum(const struct pye_mark *mark)
{
    uint32_t crc = pye_crc32(mark, offsetof(struct pye_mark, check));
    return crc == 0 ? 1 : crc; /* 0 means that there is none */
}

bool pye_mark_is_set(void)
{
    return in_file.size != 0 || in_file.check != 0;
}

enum pye_mark_state pye_mark_read(struct pye_mark *mark)
{
    *mark = in_file;
    if (mark->check == 0 && mark->offset == 0 && mark->size == 0 && mark->directory == 0)
        return PYE_MARK_EMPTY;
    return mark->check == checksum(mark) ? PYE_MARK_SET : PYE_MARK_DAMAGED;
}

struct pye_mark pye_mark_make(uint64_t offset, uint64_t size, uint32_t directory)
{
    struct pye_mark mark = {.name = NAME, .offset = offset, .size = size, .directory = directory};
    mark.check = size == 0 ? 0 : checksum(&mark);
    return mark;
}
