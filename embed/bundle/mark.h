/* The mark inside the executable: whether an archive follows it, where, and the checksum of its directory.
 *
 * A plain pyentry carries an empty mark, and the builder of bundles writes over it: so a plain pyentry finds out
 * without a system call that it is plain, and a bundle that was cut short cannot pass for one. */
#ifndef PYE_MARK_H
#define PYE_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct pye_mark {
    char name[16];     /* how the builder finds it in the file */
    uint64_t offset;   /* of the archive in the file */
    uint64_t size;     /* of the archive; it ends the file */
    uint32_t directory; /* checksum of the archive's directory */
    uint32_t check;    /* checksum of the above; 0 in a plain pyentry */
};

enum pye_mark_state { PYE_MARK_EMPTY, PYE_MARK_SET, PYE_MARK_DAMAGED };

enum pye_mark_state pye_mark_read(struct pye_mark *mark);

/* The bytes of a mark as they stand in the file; with a size of 0 those of a plain pyentry. */
struct pye_mark pye_mark_make(uint64_t offset, uint64_t size, uint32_t directory);

#endif
