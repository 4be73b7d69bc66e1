/* One open file under the standard streams: stdout and stderr share it where they are the same file. */
#ifndef PYE_CHANNEL_H
#define PYE_CHANNEL_H

#include <Python.h>

#include <pthread.h>
#include <stdbool.h>

enum { PYE_STALLED_MS = 1000 }; /* so long is a reader waited for that has stopped reading */

struct pye_channel {
    PyThread_type_lock lock;
    pthread_t owner; /* thread that holds the lock, or 0 */
    bool mid_line;   /* what was written last did not end a line */
};

/* 0, or -1 with MemoryError set. */
int pye_channel_open(struct pye_channel *channel);

/* Takes the lock. 0, or -1 with the exception of a signal handler. */
int pye_channel_enter(struct pye_channel *channel);

/* Likewise, within PYE_STALLED_MS. False with or without an exception. */
bool pye_channel_enter_soon(struct pye_channel *channel);

/* Whether this thread holds the lock. */
bool pye_channel_entered(const struct pye_channel *channel);

void pye_channel_leave(struct pye_channel *channel);

/* In a forked child: nobody holds the lock. */
void pye_channel_after_fork(struct pye_channel *channel);

/* Whether two descriptors are of the same file. */
bool pye_same_file(int a, int b);

#endif
