#include "embed/channel.h"

#include "embed/finalizing.h"

#include <sys/stat.h>

enum { STALLED_US = 1000 * PYE_STALLED_MS };

/* Waits so long for the lock (-1: for ever). True, or false with or without the exception of a signal handler. */
static bool lock_within(struct pye_channel *channel, PY_TIMEOUT_T microseconds)
{
    PyLockStatus status = PyThread_acquire_lock(channel->lock, NOWAIT_LOCK) ? PY_LOCK_ACQUIRED : PY_LOCK_INTR;
    while (status == PY_LOCK_INTR) {
        Py_BEGIN_ALLOW_THREADS
        status = PyThread_acquire_lock_timed(channel->lock, microseconds, 1);
        Py_END_ALLOW_THREADS
        if (status == PY_LOCK_INTR && PyErr_CheckSignals() < 0)
            return false;
    }
    return status == PY_LOCK_ACQUIRED;
}

int pye_channel_open(struct pye_channel *channel)
{
    channel->lock = PyThread_allocate_lock();
    if (channel->lock != NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

int pye_channel_enter(struct pye_channel *channel)
{
    /* During shutdown the owner may be a daemon thread that will never run again: it is not waited for. */
    bool last = pye_finalizing();
    if (!lock_within(channel, last ? STALLED_US : -1) && (!last || PyErr_Occurred() != NULL))
        return -1;
    channel->owner = pthread_self();
    return 0;
}

bool pye_channel_enter_soon(struct pye_channel *channel)
{
    if (!lock_within(channel, STALLED_US))
        return false;
    channel->owner = pthread_self();
    return true;
}

bool pye_channel_entered(const struct pye_channel *channel)
{
    return channel->owner == pthread_self();
}

void pye_channel_leave(struct pye_channel *channel)
{
    if (!pye_channel_entered(channel)) /* a signal handler forked, and this is the child: see pye_channel_after_fork */
        return;
    channel->owner = 0;
    PyThread_release_lock(channel->lock);
}

void pye_channel_after_fork(struct pye_channel *channel)
{
    /* Held by a thread of the parent's, perhaps so lately that it has not signed for it; or by this one, which
     * forks in a signal handler. */
    if (PyThread_acquire_lock(channel->lock, NOWAIT_LOCK))
        PyThread_release_lock(channel->lock);
    else
        channel->lock = PyThread_allocate_lock();
    channel->owner = 0;
}

bool pye_same_file(int a, int b)
{
    struct stat at_a, at_b;
    return fstat(a, &at_a) == 0 && fstat(b, &at_b) == 0 && at_a.st_dev == at_b.st_dev && at_a.st_ino == at_b.st_ino;
}
