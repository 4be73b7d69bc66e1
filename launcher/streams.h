/* What the standard streams are. */
#ifndef PYE_STREAMS_H
#define PYE_STREAMS_H

#include <limits.h>
#include <stdbool.h>

struct pye_stream {
    const char *kind;    /* closed, terminal, pipe, socket, /dev/null, file, device, other */
    char path[PATH_MAX]; /* empty where it has none */
    bool nonblocking;
    bool wrong_way; /* cannot be read, or written, as it should */
    int same_as;    /* the lowest of the three that is the same open file or pipe, or -1 */
};

void pye_streams_look(struct pye_stream streams[3]);

#endif
