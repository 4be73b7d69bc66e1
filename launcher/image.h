/* The file of a snapshot: docs/snapshot-format.md in C, and the reader that believes none of it.
 *
 *     header | areas | runs | touched ranges | words | the pages of the runs
 *
 * An area is a range of the process's memory, a run the part of an area whose pages are in the file; the rest of an
 * area is zeros. Touched is what every start writes to. Words are texts: what must be as it was for the snapshot to be
 * used. */
#ifndef PYE_IMAGE_H
#define PYE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Snapshots are made and used where addresses, registers and the C library are known. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define PYE_SNAPSHOTS 1
#else
#define PYE_SNAPSHOTS 0
#endif

#define PYE_IMAGE_MAGIC "PYESNAP\n"

enum {
    PYE_IMAGE_VERSION = 2,
    PYE_IMAGE_PAGE = 4096,
    PYE_IMAGE_AREAS = 16384,            /* the most that a reader takes */
    PYE_IMAGE_RUNS = 65536,
    PYE_IMAGE_TOUCHED = 4096,
    PYE_IMAGE_WORDS = 4 * 1024 * 1024,  /* bytes */
    PYE_BUILD_ID_BYTES = 20,
    PYE_CPU_WORDS = 12,
};

#define PYE_PAGE_DOWN(number) ((number) & ~(uint64_t)(PYE_IMAGE_PAGE - 1))
#define PYE_PAGE_UP(number) PYE_PAGE_DOWN((number) + PYE_IMAGE_PAGE - 1)

/* What must be the same file at a start: its number is its place in build_id. */
enum { PYE_PART_PYENTRY, PYE_PART_LOADER, PYE_PART_LIBC, PYE_PARTS };

/* What a process is made of, as far as a snapshot cares. */
struct pye_machine {
    uint8_t build_id[PYE_PARTS][PYE_BUILD_ID_BYTES];
    uint32_t cpu[PYE_CPU_WORDS]; /* bits that must be there */
    uint32_t page_bytes;
};

/* Numbers are little endian. */
struct pye_image_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint64_t data_offset; /* of the first page */
    uint32_t areas, runs;
    uint32_t words_bytes;
    uint32_t touched;
    uint64_t program_start, program_end; /* the writable part of a pyentry with a fixed address; 0 */
    uint64_t arena_start, arena_end;     /* all else */
    uint64_t thread_pointer, stack_pointer;
    uint64_t entry; /* pye_resume, in the image's own code where that is not at a fixed address */
    struct pye_machine machine;
    uint32_t tables_checksum; /* of all between the header and the pages */
    uint32_t header_checksum; /* of all above */
};

enum pye_area_kind {
    PYE_AREA_PRIVATE, /* runs are mapped, copied at the first write */
    PYE_AREA_COPIED,  /* of no file: runs are read. The stack, and the first page of what may grow */
    PYE_AREA_SHARED,  /* shared with later children: runs are read */
    PYE_AREA_ARCHIVE, /* the archive of the bundle that the image is in: one run, which lies before the image */
    PYE_AREA_KINDS,
};

struct pye_image_area {
    uint64_t start, end;
    uint32_t kind;
    uint32_t protection; /* PROT_ bits */
    uint32_t runs;       /* the next so many of the table of runs */
    uint32_t advice;     /* PYE_ADVICE_ bits */
};

enum { PYE_ADVICE_WIPE_ON_FORK = 1, PYE_ADVICE_DONT_DUMP = 2, PYE_ADVICE_KNOWN = 3 };

struct pye_image_run {
    uint64_t start, end;
    uint64_t offset; /* from the beginning of the image; of an archive, from that of the file */
};

/* Pages that are brought in before the process needs them: one step for many is cheaper than a fault for each. */
struct pye_image_range {
    uint64_t start, end;
};

/* Each word is a letter, a name, a value and a place, each ended by a NUL. */
enum {
    PYE_WORD_PROGRAM = 'P',  /* the value: the path of the program */
    PYE_WORD_OPTIONS = 'O',  /* the value: python's options */
    PYE_WORD_SET = 'S',      /* the variable of this name had the value; the place: the module that read it */
    PYE_WORD_UNSET = 'U',    /* the variable was looked for in vain */
    PYE_WORD_NUMBER = 'N',   /* the value: a descriptor that the snapshot uses */
    PYE_WORD_FILE = 'F',     /* the value: a file that is opened again, to read and write as the name's letters say */
};

struct pye_word {
    char kind;
    const char *name, *value, *place;
};

/* The tables of an image in memory, as they stand behind the header. */
struct pye_image {
    struct pye_image_header header;
    uint64_t base; /* where the image begins in its file, a whole page; 0: it has the file to itself */
    const struct pye_image_area *areas;
    const struct pye_image_run *runs;
    const struct pye_image_range *touched;
    const char *words;
};

/* The bytes of the tables together. */
size_t pye_image_tables_bytes(const struct pye_image_header *header);

/* Fills in both checksums. tables is what is behind the header. */
void pye_image_seal(struct pye_image_header *header, const void *tables);

/* Whether these bytes are the header of an image of this version. NULL: they are, and the sizes are in bounds; else
 * what is wrong with them. */
const char *pye_image_check_header(const struct pye_image_header *header, uint64_t file_bytes);

/* Whose file it is: whoever could write it could run code as whoever starts from it. NULL: it can be trusted. */
const char *pye_image_check_file(const struct stat *file, uid_t user);

/* Whether the tables make sense and agree with the header, which was found right. NULL, and the pointers of image set;
 * else what is wrong. */
const char *pye_image_check_tables(struct pye_image *image, const void *tables);

/* Reads the header and the tables of the image of so many bytes that begins at base, and checks both. NULL, and image is
 * set: its tables stay for the life of the process; else what is wrong. */
const char *pye_image_read(struct pye_image *image, int file, uint64_t base, uint64_t bytes);

/* The next word; false at the end. *at is NULL for the first. */
bool pye_image_next_word(const struct pye_image *image, const char **at, struct pye_word *word);

#endif
