/* One zip archive in memory: indexed once, found by name, read in place.
 *
 *     struct pye_archive archive;
 *     const char *wrong = pye_archive_open(&archive, bytes, size, base);
 *     const struct pye_entry *entry = pye_archive_find(&archive, "pkg/mod.py", 10);
 *     const void *data = pye_archive_read(&archive, entry);
 *     pye_archive_close(&archive);
 *
 * Only what `pyentry --bundle` writes is read: stored files, sorted by name, no directories, comments or extra fields.
 * Whatever else is refused, with its reason: a damaged archive is never read half. The bytes stay the caller's. */
#ifndef PYE_ARCHIVE_H
#define PYE_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The ceilings: zip's own numbers of entries and bytes, and a path of Linux. */
enum { PYE_ARCHIVE_ENTRIES = 65535, PYE_ARCHIVE_NAME_BYTES = 4095 };
#define PYE_ARCHIVE_BYTES UINT32_MAX

struct pye_entry {
    const char *name; /* not terminated */
    uint32_t header;  /* where its local header is, from the start of the archive */
    uint32_t size;
    uint32_t crc;
    uint16_t name_length;
    bool intact; /* its bytes have been checked */
};

struct pye_archive {
    const unsigned char *bytes;
    size_t size, base;        /* base: where bytes begin in the file that the archive's offsets count from */
    size_t directory;         /* where the central directory begins, from the start of the archive */
    struct pye_entry *entries; /* in the order of their names */
    uint32_t count;
    uint32_t *slots; /* a hash table of indices + 1; 0 is empty */
    uint32_t mask;
    char *names; /* of a settled one; else they are in the directory */
};

/* NULL, or what is wrong with it. */
const char *pye_archive_open(struct pye_archive *archive, const void *bytes, size_t size, size_t base);
void pye_archive_close(struct pye_archive *archive);

/* Of the central directory and the end record: who knows it knows every name, size and checksum. */
uint32_t pye_archive_directory_crc(const struct pye_archive *archive);

/* Makes the index independent of the directory, and forgets which files were checked: for a process that will find the
 * files where they are, and something else where the directory is. False where there is no memory. */
bool pye_archive_settle(struct pye_archive *archive);

/* Where the entry's bytes begin in the file that the archive's offsets count from. */
uint64_t pye_archive_offset(const struct pye_archive *archive, const struct pye_entry *entry);

const struct pye_entry *pye_archive_find(const struct pye_archive *archive, const char *name, size_t length);

/* The entry's bytes, checked against its checksum the first time; NULL where they are damaged. */
const void *pye_archive_read(const struct pye_archive *archive, const struct pye_entry *entry);

/* The first entry below the directory "pkg/sub" ("" is the root), or NULL: then there is no such directory. */
const struct pye_entry *pye_archive_directory(const struct pye_archive *archive, const char *name, size_t length);

/* The name that an entry below the directory has in it, up to the next slash; and the first entry behind all that
 * begin with this name, or NULL at the end of the directory. */
const struct pye_entry *pye_archive_next(const struct pye_archive *archive, size_t directory_length,
                                         const struct pye_entry *entry, const char **name, size_t *length,
                                         bool *is_directory);

#endif
