/* Writing where whoever reads may have stopped reading: there is no waiting for that, when the program has ended. */
#ifndef PYE_READER_H
#define PYE_READER_H

#include "embed/queue.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether the descriptor takes bytes within PYE_STALLED_MS, and other threads run meanwhile. The second is for when
 * there is no interpreter any more. */
bool pye_reader_soon(int fd);
bool pye_reader_soon_at_exit(int fd);

/* How many of so many bytes surely fit then: with more, a blocking pipe would wait for the rest. */
size_t pye_reader_fitting(size_t length);

/* Writes a queue for as long as somebody reads it. What is left stays in the queue. */
void pye_reader_write(int fd, struct pye_queue *queue, bool (*soon)(int fd));

#endif
