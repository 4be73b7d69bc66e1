/* A connection that is made in time, or not at all. */
#ifndef PYE_CONNECT_H
#define PYE_CONNECT_H

#include "launcher/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long all of it may take. */
struct pye_patience {
    int64_t deadline; /* on the clock of pye_milliseconds */
    const char *text; /* as the user wrote it: "3s" */
};

/* A non-blocking socket, connected, which the caller closes; -1 with the reason written to why. */
int pye_connect(const struct pye_url *url, const struct pye_patience *patience, char *why, size_t room);

/* Waits until the descriptor is ready for these events of poll(2). False when the time is over. */
bool pye_ready(int fd, short events, int64_t deadline);

#endif
