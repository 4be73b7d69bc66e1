/* The standard streams: complete writes, one lock per open file.
 *
 * Under sys.stdout and sys.stderr, which stay io.TextIOWrapper objects, lies a FileIO whose write() returns
 * when every byte is out: a short write is continued, a signal in the middle is handled and the rest follows,
 * a full non-blocking pipe is waited for. What an exception raised by a signal handler cuts off, and what a
 * handler prints in the middle of a write, is kept and follows before anything else is written. */
#ifndef PYE_STDIO_H
#define PYE_STDIO_H

#include <Python.h>

#include <stdbool.h>

/* Puts the streams in. 0, or -1 with an exception. */
int pye_stdio_install(void);

/* The function that writes text to such a stream, a new reference. After pye_stdio_install. */
PyObject *pye_stdio_text_write(void);

/* Whether file is a text stream of ours: sys.stdout or sys.stderr as installed, or a plain
 * TextIOWrapper that somebody put around their buffer. */
bool pye_stdio_is_ours(PyObject *file);

/* Whether file is one of the two text streams as installed. */
bool pye_stdio_is_installed(PyObject *file);

enum { PYE_STREAMS = 2 };

/* What a hold found. */
struct pye_hold {
    size_t taken[PYE_STREAMS];
    bool in_whole;
};

/* Between hold and release, what this thread writes to the streams is gathered, and written in one piece at the
 * end. The two may be nested: the end of an inner hold that gathered anything for a stream writes what there is for it,
 * unless an outer one is for a text that is to stay whole, as a traceback, for which Python 3.13 calls print itself.
 * release: 0, or -1 with an exception: the one that was set before, or that of writing. */
void pye_stdio_hold(struct pye_hold *hold, bool whole);
int pye_stdio_release(const struct pye_hold *hold);

/* Whether this thread gathers. */
bool pye_stdio_is_holding(void);

/* Between hold and release: whether what is for stderr stays gathered when somebody flushes, too. */
void pye_stdio_hold_firmly(bool firmly);

/* What this thread has gathered for stderr so far: how many bytes, and which. */
size_t pye_stdio_held(void);
const char *pye_stdio_held_text(void);

/* Puts data in the place of what was gathered behind the first bytes. 0, or -1 with MemoryError set. */
int pye_stdio_replace_held(size_t from, const char *data, size_t length);

/* Whether what was written to stderr last did not end its line. Async-signal-safe. */
bool pye_stdio_is_mid_line(void);

/* From here on builtins.print is python's again, which prints in pieces: a line is written when it is whole. */
int pye_stdio_close_down(void);

/* os._exit is about to leave: writes what is kept and what is held, as far as somebody reads it. */
void pye_stdio_leave(void);

/* Writes what is kept, so that a child's lines do not come in the middle of it. */
void pye_stdio_before_fork(void);

/* In a forked child: locks that other threads held are free, and what the parent kept is the parent's to write. */
void pye_stdio_after_fork(void);

/* In a process that starts from a snapshot, and in the one that is written down (all): the descriptors are other files.
 * 0, or -1 with an exception. */
int pye_stdio_resume(bool all);

#endif
