/* embed/bundle/archive: a zip file of any bytes. What it opens can be listed, found and read without leaving it; what
 * it says once it says again. */
#include "tests/fuzz/fuzz.h"

#include "embed/bundle/archive.h"
#include "launcher/crc32.h"

#include <stdbool.h>
#include <string.h>

enum { BASE = 64, MOST_BYTES = 1 << 16 };

/* Every file below the directory, each once: how many. */
static uint32_t count_below(const struct pye_archive *archive, const char *directory, size_t length)
{
    uint32_t count = 0;
    const struct pye_entry *entry = pye_archive_directory(archive, directory, length);
    while (entry != NULL) {
        const char *directory_name = entry->name;
        const char *name;
        size_t name_length;
        bool is_directory;
        entry = pye_archive_next(archive, length, entry, &name, &name_length, &is_directory);
        MUST(name_length > 0 && memchr(name, '/', name_length) == NULL);
        size_t below = (size_t)(name - directory_name) + name_length;
        count += is_directory ? count_below(archive, directory_name, below) : 1;
    }
    return count;
}

static void read_all(const struct pye_archive *archive, const uint8_t *data, size_t size)
{
    for (uint32_t i = 0; i < archive->count; i++) {
        const struct pye_entry *entry = &archive->entries[i];
        MUST(pye_archive_find(archive, entry->name, entry->name_length) == entry);
        MUST(pye_archive_find(archive, entry->name, (size_t)entry->name_length - 1) != entry);
        const uint8_t *bytes = pye_archive_read(archive, entry);
        MUST(bytes == pye_archive_read(archive, entry));
        if (bytes != NULL)
            MUST(bytes >= data && bytes + entry->size <= data + size && pye_crc32(bytes, entry->size) == entry->crc);
    }
    MUST(count_below(archive, "", 0) == archive->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pye_archive archive;
    if (size > MOST_BYTES)
        return 0;
    for (size_t base = 0; base <= BASE; base += BASE) {
        if (pye_archive_open(&archive, data, size, base) != NULL)
            continue;
        (void)pye_archive_directory_crc(&archive);
        read_all(&archive, data, size);
        pye_archive_close(&archive);
    }
    return 0;
}
