/* The memory of an image, put in place: its arena at once, since this process has nothing there; the writable memory of
 * pyentry itself as a plan, for pye_leap, since whoever does it stands on it. */
#ifndef PYE_EXCHANGE_H
#define PYE_EXCHANGE_H

#include "launcher/image.h"
#include "launcher/remap.h"

struct pye_exchange {
    struct pye_image image;
    int file, archive; /* archive: the bundle's, which the image is in; -1 */
};

/* 0, or an error number, and nothing is there: EEXIST where addresses are taken. */
int pye_exchange_arena(const struct pye_exchange *exchange);

/* Takes the arena away again. */
void pye_exchange_forget(const struct pye_exchange *exchange);

/* Writes the other steps, of which there are at most pye_exchange_most, and returns how many. */
size_t pye_exchange_plan(const struct pye_exchange *exchange, struct pye_step *steps);
size_t pye_exchange_most(const struct pye_exchange *exchange);

#endif
