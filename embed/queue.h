/* Bytes that wait to be written. */
#ifndef PYE_QUEUE_H
#define PYE_QUEUE_H

#include <stddef.h>

struct pye_queue {
    char *data;
    size_t length;
    size_t room;
};

/* 0, or -1 with MemoryError set. */
int pye_queue_append(struct pye_queue *queue, const char *data, size_t length);

/* Takes count bytes away from the front. */
void pye_queue_drop(struct pye_queue *queue, size_t count);

/* Empties it and frees its memory. */
void pye_queue_clear(struct pye_queue *queue);

#endif
