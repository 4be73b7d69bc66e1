#include "embed/bundle/archive.h"

#include "embed/bundle/little.h"
#include "launcher/crc32.h"

#include <stdlib.h>
#include <string.h>

/* The three records of a zip file that are read, in bytes without their names. */
enum { LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22 };
#define LOCAL_SIGNATURE 0x04034b50
#define CENTRAL_SIGNATURE 0x02014b50
#define END_SIGNATURE 0x06054b50

/* Where the fields are that are looked at. */
enum { LOCAL_FLAGS = 6, LOCAL_CRC = 14, LOCAL_NAME_LENGTH = 26, LOCAL_EXTRA_LENGTH = 28 };
enum { CENTRAL_FLAGS = 8, CENTRAL_METHOD = 10, CENTRAL_CRC = 16, CENTRAL_SIZE = 24, CENTRAL_NAME_LENGTH = 28 };
enum { CENTRAL_EXTRA_LENGTH = 30, CENTRAL_COMMENT_LENGTH = 32, CENTRAL_HEADER = 42 };
enum { END_DISKS = 4, END_COUNT = 8, END_SIZE = 12, END_DIRECTORY = 16, END_COMMENT_LENGTH = 20 };

enum { UTF8_NAME = 0x800 };

/* --- names --- */

static uint32_t hash(const char *name, size_t length)
{
    const uint64_t prime = 0x9e3779b97f4a7c15;
    uint64_t word, value = length * prime;
    for (; length >= sizeof word; length -= sizeof word, name += sizeof word) {
        memcpy(&word, name, sizeof word);
        value = (value ^ word) * prime;
        value ^= value >> 32;
    }
    word = 0;
    memcpy(&word, name, length);
    value = (value ^ word) * prime;
    return (uint32_t)(value >> 32);
}

/* As memcmp, a shorter name before a longer one that begins with it. */
static int compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* A file below the root, by one spelling only: no "", "." or ".." between the slashes, no NUL. */
static bool is_plain(const char *name, size_t length)
{
    size_t start = 0;
    if (memchr(name, '\0', length) != NULL)
        return false;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && name[i] != '/')
            continue;
        size_t part = i - start;
        if (part == 0 || (part <= 2 && name[start] == '.' && name[i - 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

/* --- the index --- */

/* The end record, which is the last of the bytes: how many entries, and where their records are. */
static const char *read_end(struct pye_archive *archive)
{
    if (archive->size < END_BYTES)
        return "it is cut short";
    if (archive->size > PYE_ARCHIVE_BYTES || archive->base > PYE_ARCHIVE_BYTES - archive->size)
        return "it is larger than 4 GiB";
    const unsigned char *end = archive->bytes + archive->size - END_BYTES;
    if (pye_get32(end) != END_SIGNATURE || pye_get16(end + END_COMMENT_LENGTH) != 0)
        return "it does not end in a zip file's end record";
    archive->count = pye_get16(end + END_COUNT);
    size_t directory = pye_get32(end + END_DIRECTORY), size = pye_get32(end + END_SIZE);
    if (pye_get32(end + END_DISKS) != 0 || pye_get16(end + END_COUNT + 2) != archive->count || directory < archive->base
        || directory - archive->base > archive->size - END_BYTES
        || archive->size - END_BYTES - (directory - archive->base) != size)
        return "its end record does not fit it";
    archive->directory = directory - archive->base;
    return NULL;
}

/* One record of the central directory, with room bytes from at on. */
static const char *read_record(const struct pye_archive *archive, struct pye_entry *entry, const unsigned char *at,
                               size_t room)
{
    if (room < CENTRAL_BYTES || pye_get32(at) != CENTRAL_SIGNATURE)
        return "its directory is not one of a zip file";
    *entry = (struct pye_entry){
        .name = (const char *)at + CENTRAL_BYTES,
        .name_length = pye_get16(at + CENTRAL_NAME_LENGTH),
        .crc = pye_get32(at + CENTRAL_CRC),
        .size = pye_get32(at + CENTRAL_SIZE),
        .header = pye_get32(at + CENTRAL_HEADER) - (uint32_t)archive->base,
    };
    if ((pye_get16(at + CENTRAL_FLAGS) & ~UTF8_NAME) != 0 || pye_get16(at + CENTRAL_METHOD) != 0
        || pye_get32(at + CENTRAL_SIZE - 4) != entry->size)
        return "it holds a file that is not simply stored";
    if (pye_get16(at + CENTRAL_EXTRA_LENGTH) != 0 || pye_get32(at + CENTRAL_COMMENT_LENGTH) != 0)
        return "it holds a file with extra fields";
    if (entry->name_length > room - CENTRAL_BYTES)
        return "its directory is cut short";
    if (entry->name_length > PYE_ARCHIVE_NAME_BYTES || !is_plain(entry->name, entry->name_length))
        return "it holds a file with a bad name";
    if (pye_get32(at + CENTRAL_HEADER) < archive->base || entry->header > archive->directory
        || archive->directory - entry->header < (size_t)LOCAL_BYTES + entry->name_length
        || archive->directory - entry->header - LOCAL_BYTES - entry->name_length < entry->size)
        return "it holds a file that lies outside of it";
    return NULL;
}

static const char *read_directory(struct pye_archive *archive)
{
    const unsigned char *at = archive->bytes + archive->directory;
    size_t room = archive->size - END_BYTES - archive->directory;

    for (uint32_t i = 0; i < archive->count; i++) {
        struct pye_entry *entry = &archive->entries[i];
        const char *wrong = read_record(archive, entry, at, room);
        if (wrong != NULL)
            return wrong;
        if (i > 0 && compare(entry[-1].name, entry[-1].name_length, entry->name, entry->name_length) >= 0)
            return "its files are not in the order of their names";
        at += CENTRAL_BYTES + entry->name_length;
        room -= CENTRAL_BYTES + entry->name_length;

        uint32_t slot = hash(entry->name, entry->name_length) & archive->mask;
        while (archive->slots[slot] != 0)
            slot = (slot + 1) & archive->mask;
        archive->slots[slot] = i + 1;
    }
    return room == 0 ? NULL : "its directory holds more than its files";
}

const char *pye_archive_open(struct pye_archive *archive, const void *bytes, size_t size, size_t base)
{
    *archive = (struct pye_archive){.bytes = bytes, .size = size, .base = base};
    const char *wrong = read_end(archive);
    if (wrong != NULL)
        return wrong;
    uint32_t slots = 2;
    while (slots < archive->count * 2)
        slots *= 2;
    archive->mask = slots - 1;
    archive->slots = calloc(slots, sizeof *archive->slots);
    archive->entries = calloc(archive->count + 1, sizeof *archive->entries);
    wrong = archive->slots == NULL || archive->entries == NULL ? "no memory for its index" : read_directory(archive);
    if (wrong != NULL)
        pye_archive_close(archive);
    return wrong;
}

void pye_archive_close(struct pye_archive *archive)
{
    free(archive->entries);
    free(archive->slots);
    free(archive->names);
    *archive = (struct pye_archive){0};
}

uint32_t pye_archive_directory_crc(const struct pye_archive *archive)
{
    return pye_crc32(archive->bytes + archive->directory, archive->size - archive->directory);
}

bool pye_archive_settle(struct pye_archive *archive)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < archive->count; i++)
        bytes += archive->entries[i].name_length;
    char *names = archive->names = malloc(bytes + 1);
    if (names == NULL)
        return false;
    for (uint32_t i = 0; i < archive->count; i++) {
        struct pye_entry *entry = &archive->entries[i];
        entry->name = memcpy(names, entry->name, entry->name_length);
        entry->intact = false;
        names += entry->name_length;
    }
    return true;
}

/* --- files --- */

const struct pye_entry *pye_archive_find(const struct pye_archive *archive, const char *name, size_t length)
{
    uint32_t slot = hash(name, length) & archive->mask;
    for (; archive->slots[slot] != 0; slot = (slot + 1) & archive->mask) {
        const struct pye_entry *entry = &archive->entries[archive->slots[slot] - 1];
        if (entry->name_length == length && memcmp(entry->name, name, length) == 0)
            return entry;
    }
    return NULL;
}

/* The local header says the same as the directory, or one of them is damaged. */
static bool agrees(const unsigned char *local, const struct pye_entry *entry)
{
    return pye_get32(local) == LOCAL_SIGNATURE && (pye_get32(local + LOCAL_FLAGS) & ~(uint32_t)UTF8_NAME) == 0
           && pye_get32(local + LOCAL_CRC) == entry->crc && pye_get32(local + LOCAL_CRC + 4) == entry->size
           && pye_get32(local + LOCAL_CRC + 8) == entry->size
           && pye_get16(local + LOCAL_NAME_LENGTH) == entry->name_length && pye_get16(local + LOCAL_EXTRA_LENGTH) == 0
           && memcmp(local + LOCAL_BYTES, entry->name, entry->name_length) == 0;
}

uint64_t pye_archive_offset(const struct pye_archive *archive, const struct pye_entry *entry)
{
    return archive->base + entry->header + LOCAL_BYTES + entry->name_length;
}

const void *pye_archive_read(const struct pye_archive *archive, const struct pye_entry *entry)
{
    const unsigned char *local = archive->bytes + entry->header;
    const unsigned char *data = local + LOCAL_BYTES + entry->name_length;
    if (!entry->intact) {
        if (!agrees(local, entry) || pye_crc32(data, entry->size) != entry->crc)
            return NULL;
        /* Two threads may both come here: they write the same. */
        __atomic_store_n(&archive->entries[entry - archive->entries].intact, true, __ATOMIC_RELAXED);
    }
    return data;
}

/* --- directories: what lies between two names --- */

/* The first entry, from low on, whose name is not before this one. */
static uint32_t lower_bound(const struct pye_archive *archive, uint32_t low, const char *name, size_t length)
{
    uint32_t high = archive->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct pye_entry *entry = &archive->entries[middle];
        if (compare(entry->name, entry->name_length, name, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool begins_with(const struct pye_entry *entry, const char *name, size_t length)
{
    return entry->name_length > length && memcmp(entry->name, name, length) == 0;
}

const struct pye_entry *pye_archive_directory(const struct pye_archive *archive, const char *name, size_t length)
{
    char prefix[PYE_ARCHIVE_NAME_BYTES + 1];
    if (length >= sizeof prefix)
        return NULL;
    memcpy(prefix, name, length);
    if (length > 0)
        prefix[length++] = '/';
    uint32_t first = lower_bound(archive, 0, prefix, length);
    if (first == archive->count || !begins_with(&archive->entries[first], prefix, length))
        return NULL;
    return &archive->entries[first];
}

const struct pye_entry *pye_archive_next(const struct pye_archive *archive, size_t directory_length,
                                         const struct pye_entry *entry, const char **name, size_t *length,
                                         bool *is_directory)
{
    size_t prefix = directory_length == 0 ? 0 : directory_length + 1;
    const char *rest = entry->name + prefix;
    const char *slash = memchr(rest, '/', entry->name_length - prefix);
    uint32_t next = (uint32_t)(entry - archive->entries) + 1;

    *name = rest;
    *is_directory = slash != NULL;
    *length = slash == NULL ? entry->name_length - prefix : (size_t)(slash - rest);
    if (slash != NULL) {
        /* '0' is the character after '/': no name below this directory comes behind "name0". */
        char beyond[PYE_ARCHIVE_NAME_BYTES + 1];
        memcpy(beyond, entry->name, prefix + *length);
        beyond[prefix + *length] = '0';
        next = lower_bound(archive, next, beyond, prefix + *length + 1);
    }
    return next < archive->count && begins_with(&archive->entries[next], entry->name, prefix)
               ? &archive->entries[next]
               : NULL;
}
