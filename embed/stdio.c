#include "embed/stdio.h"

#include "embed/channel.h"
#include "embed/queue.h"
#include "embed/reader.h"
#include "embed/signals.h"
#include "embed/subtype.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { STREAMS = PYE_STREAMS, STDERR = 1 };

static const char *const stream_names[STREAMS] = {"stdout", "stderr"};

/* What an Output adds to the FileIO that it is. */
struct output {
    struct pye_channel *channel;
    struct pye_queue kept; /* to be written before anything else */
    int fd;
    int index;       /* in streams */
    bool in_passing; /* a reader that has stopped reading is not waited for */
};

static struct stream {
    struct pye_channel channel;
    struct output *output; /* inside a reference of ours; NULL where python has None */
    PyObject *text;
    bool seeks; /* what text knows of its file */
} streams[STREAMS];

static bool by_line; /* the interpreter has put its own print back: lines are put together here */

static PyTypeObject *output_type, *file_type, *text_type;

/* What this thread gathers between hold and release. */
static _Thread_local struct {
    int depth;
    bool whole;  /* what an inner hold gathers stays */
    bool firmly; /* what is for stderr stays at a flush, too */
    struct pye_queue queue[STREAMS];
    size_t taken[STREAMS]; /* bytes that ever came into the queue */
} held;

static struct output *output_of(PyObject *self)
{
    return (struct output *)((char *)self + file_type->tp_basicsize);
}

/* --- writing it all --- */

enum outcome { WRITTEN, INTERRUPTED, STALLED, FAILED };

/* Only a signal ends this wait early. An error on the descriptor shows in the next write. */
static void wait_writable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    Py_BEGIN_ALLOW_THREADS
    poll(&ready, 1, -1);
    Py_END_ALLOW_THREADS
}

/* Writes length bytes and counts them in *done. INTERRUPTED: a signal handler raised. STALLED: in passing, and nobody
 * reads. FAILED: OSError is set. Where a signal handler forked, the rest is the parent's to write. */
static enum outcome write_all(struct output *output, const char *data, size_t length, size_t *done)
{
    int fd = output->fd;
    for (*done = 0; *done < length;) {
        size_t left = length - *done;
        ssize_t written;
        int error;
        if (output->in_passing && !pye_reader_soon(fd))
            return PyErr_CheckSignals() < 0 ? INTERRUPTED : STALLED;
        Py_BEGIN_ALLOW_THREADS
        errno = 0;
        written = write(fd, data + *done, output->in_passing ? pye_reader_fitting(left) : left);
        error = errno;
        Py_END_ALLOW_THREADS
        if (written > 0) {
            *done += (size_t)written;
            if (*done == length)
                break;
        } else if (written == 0 || error == EAGAIN) {
            if (!output->in_passing)
                wait_writable(fd);
        } else if (error != EINTR) {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
            return FAILED;
        }
        /* A signal in the middle of a write shows only in its being short. */
        if (PyErr_CheckSignals() < 0)
            return INTERRUPTED;
        if (!pye_channel_entered(output->channel))
            return WRITTEN;
    }
    return WRITTEN;
}

/* Puts data in front of what is kept, the exception that is set untouched. */
static void keep_first(struct output *output, const char *data, size_t length)
{
    PyObject *type, *value, *traceback;
    struct pye_queue later = output->kept;

    PyErr_Fetch(&type, &value, &traceback);
    output->kept = (struct pye_queue){NULL, 0, 0};
    if (pye_queue_append(&output->kept, data, length) == 0)
        pye_queue_append(&output->kept, later.data, later.length);
    pye_queue_clear(&later);
    PyErr_Restore(type, value, traceback);
}

/* Likewise behind what is kept. */
static void keep_last(struct output *output, const char *data, size_t length)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    pye_queue_append(&output->kept, data, length);
    PyErr_Restore(type, value, traceback);
}

/* What an exception from a signal handler cuts off is kept; what a broken descriptor refuses is not: it would be
 * refused again. */
static enum outcome write_or_keep(struct output *output, const char *data, size_t length)
{
    size_t done;
    enum outcome outcome = write_all(output, data, length, &done);
    if (outcome == INTERRUPTED || outcome == STALLED)
        keep_first(output, data + done, length - done);
    else if (outcome == FAILED)
        pye_queue_clear(&output->kept);
    return outcome;
}

/* A handler that runs meanwhile may keep more: so the queue is taken out before it is written. */
static enum outcome write_kept(struct output *output)
{
    enum outcome outcome = WRITTEN;
    while (output->kept.length > 0 && outcome == WRITTEN) {
        struct pye_queue taken = output->kept;
        output->kept = (struct pye_queue){NULL, 0, 0};
        outcome = write_or_keep(output, taken.data, taken.length);
        pye_queue_clear(&taken);
    }
    return outcome;
}

/* Writes what signal handlers printed during our write, to whichever stream of this channel. */
static enum outcome write_channel_kept(struct pye_channel *channel)
{
    for (int i = 0; i < STREAMS; i++) {
        struct output *output = streams[i].output;
        if (output != NULL && output->channel == channel) {
            enum outcome outcome = write_kept(output);
            if (outcome != WRITTEN)
                return outcome;
        }
    }
    return WRITTEN;
}

/* --- the type --- */

static int send(struct output *output, const char *data, size_t length)
{
    enum outcome outcome;
    if (pye_channel_entered(output->channel)) /* a signal handler in the middle of our own write */
        return pye_queue_append(&output->kept, data, length);
    if (pye_channel_enter(output->channel) < 0) { /* a handler raised while we waited: the text keeps its place */
        keep_last(output, data, length);
        return -1;
    }
    output->channel->mid_line = data[length - 1] != '\n';
    if (output->kept.length > 0)
        outcome = pye_queue_append(&output->kept, data, length) < 0 ? FAILED : write_kept(output);
    else
        outcome = write_or_keep(output, data, length);
    if (outcome == WRITTEN)
        outcome = write_channel_kept(output->channel);
    pye_channel_leave(output->channel);
    return outcome == WRITTEN ? 0 : -1;
}

/* Writes what this thread has gathered for one stream. */
static int let_out(struct output *output)
{
    struct pye_queue queue = held.queue[output->index];
    int result = 0;
    held.queue[output->index] = (struct pye_queue){NULL, 0, 0};
    if (queue.length > 0 && output->fd >= 0)
        result = send(output, queue.data, queue.length);
    pye_queue_clear(&queue);
    return result;
}

static int take(struct output *output, const char *data, size_t length)
{
    struct pye_queue *queue = &held.queue[output->index];
    if (length == 0)
        return 0;
    bool gather = held.depth > 0 || (by_line && data[length - 1] != '\n');
    if (!gather && queue->length == 0)
        return send(output, data, length);
    if (pye_queue_append(queue, data, length) < 0)
        return -1;
    held.taken[output->index] += length;
    return gather ? 0 : let_out(output);
}

static PyObject *output_write(PyObject *self, PyObject *data)
{
    struct output *output = output_of(self);
    Py_buffer view;
    if (output->fd < 0) /* closed: in FileIO's own words */
        return PyObject_CallMethod((PyObject *)file_type, "write", "OO", self, data);
    if (PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO) < 0)
        return NULL;
    int result = take(output, view.buf, (size_t)view.len);
    PyObject *count = result < 0 ? NULL : PyLong_FromSsize_t(view.len);
    PyBuffer_Release(&view);
    return count;
}

/* The interpreter's own flush, when the program has ended: something is kept only where an exception cut off a write,
 * so it has waited enough. None, or NULL with OSError set; after a SIGTERM a reader that went away is no error. */
static PyObject *flush_in_passing(struct output *output)
{
    enum outcome outcome = STALLED;
    if (pye_channel_enter_soon(output->channel)) {
        output->in_passing = true;
        outcome = write_kept(output);
        output->in_passing = false;
        pye_channel_leave(output->channel);
    }
    if (outcome == FAILED && !pye_sigterm_taken())
        return NULL;
    PyErr_Clear(); /* a signal handler's: there is no program left */
    Py_RETURN_NONE;
}

static PyObject *output_flush(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct output *output = output_of(self);
    if (output->fd < 0)
        return PyObject_CallMethod((PyObject *)file_type, "flush", "O", self);
    if (held.firmly && output->index == STDERR)
        Py_RETURN_NONE;
    if (let_out(output) < 0)
        return NULL;
    if (output->kept.length == 0 || pye_channel_entered(output->channel))
        Py_RETURN_NONE;
    if (PyEval_GetFrame() == NULL)
        return flush_in_passing(output);
    if (pye_channel_enter(output->channel) < 0)
        return NULL;
    enum outcome outcome = write_kept(output);
    pye_channel_leave(output->channel);
    if (outcome != WRITTEN)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *output_close(PyObject *self, PyObject *unused)
{
    struct output *output = output_of(self);
    if (output->fd >= 0) {
        PyObject *flushed = let_out(output) < 0 ? NULL : output_flush(self, unused);
        if (flushed == NULL)
            return NULL;
        Py_DECREF(flushed);
        output->fd = -1;
    }
    return PyObject_CallMethod((PyObject *)file_type, "close", "O", self);
}

/* There are the two streams, and no others: their state is not made for more. */
static PyObject *output_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyErr_Format(PyExc_TypeError, "cannot create '%s' instances", type->tp_name);
    return NULL;
}

static PyMethodDef output_methods[] = {
    {"write", output_write, METH_O, "Write all of the bytes; return their number."},
    {"flush", output_flush, METH_NOARGS, "Write what a signal handler's exception cut off."},
    {"close", output_close, METH_NOARGS, "Flush, and refuse to write from now on."},
    {NULL, NULL, 0, NULL},
};

static char output_doc[] = "The bytes under sys.stdout and sys.stderr: a FileIO whose writes are complete.";

static PyType_Slot output_slots[] = {
    {Py_tp_doc, output_doc},
    {Py_tp_methods, output_methods},
    {Py_tp_new, output_new},
    {0, NULL},
};

static int make_types(void)
{
    PyType_Spec spec = {.name = "pyentry.Output", .flags = Py_TPFLAGS_DEFAULT, .slots = output_slots};
    PyObject *io = PyImport_ImportModule("_io");
    if (io == NULL)
        return -1;
    file_type = (PyTypeObject *)PyObject_GetAttrString(io, "FileIO");
    text_type = (PyTypeObject *)PyObject_GetAttrString(io, "TextIOWrapper");
    Py_DECREF(io);
    if (file_type == NULL || text_type == NULL)
        return -1;
    spec.basicsize = (int)(file_type->tp_basicsize + (Py_ssize_t)sizeof(struct output));
    output_type = (PyTypeObject *)pye_subtype((PyObject *)file_type, &spec);
    return output_type == NULL ? -1 : 0;
}

/* --- the streams --- */

static struct pye_channel *find_channel(int index, int fd)
{
    bool shared = index > 0 && streams[0].output != NULL && pye_same_file(streams[0].output->fd, fd);
    return &streams[shared ? 0 : index].channel;
}

static PyObject *make_output(int index, int fd)
{
    PyObject *arguments = Py_BuildValue("(isO)", fd, "wb", Py_False);
    if (arguments == NULL)
        return NULL;
    PyObject *self = file_type->tp_new(output_type, arguments, NULL);
    if (self != NULL && output_type->tp_init(self, arguments, NULL) < 0)
        Py_CLEAR(self);
    Py_DECREF(arguments);
    if (self == NULL)
        return NULL;
    *output_of(self) = (struct output){.channel = find_channel(index, fd), .fd = fd, .index = index};
    streams[index].seeks = lseek(fd, 0, SEEK_CUR) >= 0;
    PyObject *name = PyUnicode_FromFormat("<%s>", stream_names[index]);
    if (name == NULL || PyObject_SetAttrString(self, "name", name) < 0)
        Py_CLEAR(self);
    Py_XDECREF(name);
    return self;
}

/* Begins text again, on output, with everything else as python had set it. */
static int rebase(PyObject *text, PyObject *output)
{
    int result = -1;
    PyObject *encoding = PyObject_GetAttrString(text, "encoding");
    PyObject *errors = PyObject_GetAttrString(text, "errors");
    PyObject *line_buffering = PyObject_GetAttrString(text, "line_buffering");
    if (encoding != NULL && errors != NULL && line_buffering != NULL) {
        PyObject *none = PyObject_CallMethod(text, "__init__", "OOOsOO", output, encoding, errors, "\n",
                                             line_buffering, Py_True);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    }
    Py_XDECREF(encoding);
    Py_XDECREF(errors);
    Py_XDECREF(line_buffering);
    return result;
}

static int install_stream(int index)
{
    int result = -1, fd;
    PyObject *raw = NULL, *output = NULL;
    PyObject *text = PySys_GetObject(stream_names[index]);
    if (text == NULL || !Py_IS_TYPE(text, text_type)) /* None: the descriptor is closed */
        return 0;
    if (pye_channel_open(&streams[index].channel) < 0)
        return -1;
    if ((raw = PyObject_GetAttrString(text, "buffer")) != NULL
        && (fd = PyObject_AsFileDescriptor(raw)) >= 0 && (output = make_output(index, fd)) != NULL
        && rebase(text, output) == 0) {
        /* Both references are kept: print and release look at the streams for as long as there is Python. */
        streams[index].output = output_of(output);
        streams[index].text = text;
        Py_INCREF(output);
        Py_INCREF(text);
        result = 0;
    }
    Py_XDECREF(raw);
    Py_XDECREF(output);
    return result;
}

int pye_stdio_install(void)
{
    if (make_types() < 0)
        return -1;
    for (int i = 0; i < STREAMS; i++) {
        if (install_stream(i) < 0)
            return -1;
    }
    return 0;
}

PyObject *pye_stdio_text_write(void)
{
    return PyObject_GetAttrString((PyObject *)text_type, "write");
}

bool pye_stdio_is_installed(PyObject *file)
{
    return file == streams[0].text || file == streams[1].text;
}

bool pye_stdio_is_ours(PyObject *file)
{
    if (pye_stdio_is_installed(file))
        return true;
    if (!Py_IS_TYPE(file, text_type))
        return false;
    PyObject *buffer = PyObject_GetAttrString(file, "buffer");
    bool ours = buffer != NULL && Py_IS_TYPE(buffer, output_type);
    PyErr_Clear(); /* a detached stream has no buffer */
    Py_XDECREF(buffer);
    return ours;
}

bool pye_stdio_is_holding(void)
{
    return held.depth > 0;
}

void pye_stdio_hold(struct pye_hold *hold, bool whole)
{
    memcpy(hold->taken, held.taken, sizeof held.taken);
    hold->in_whole = held.whole;
    held.whole |= whole;
    held.depth++;
}

/* Whether what is gathered for a stream is still to be: the outer hold's. What the inner one gathered is not: it was
 * printed, perhaps by a __str__ that does not return. It goes out behind what was there before, which it follows. */
static bool stays(const struct pye_hold *hold, int index)
{
    return held.depth > 0 && (hold->in_whole || held.taken[index] == hold->taken[index]);
}

int pye_stdio_release(const struct pye_hold *hold)
{
    PyObject *type, *value, *traceback;
    if (held.depth == 0) /* this is a child, forked inside */
        return PyErr_Occurred() == NULL ? 0 : -1;
    held.depth--;
    held.whole = hold->in_whole;
    PyErr_Fetch(&type, &value, &traceback);
    for (int i = 0; i < STREAMS; i++) {
        if (streams[i].output == NULL || stays(hold, i) || let_out(streams[i].output) == 0)
            continue;
        if (type != NULL && PyErr_ExceptionMatches(PyExc_OSError)) { /* the first exception says more */
            PyErr_Clear();
            continue;
        }
        /* A signal handler's exception is never dropped. */
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        PyErr_Fetch(&type, &value, &traceback);
    }
    bool failed = type != NULL;
    PyErr_Restore(type, value, traceback);
    return failed ? -1 : 0;
}

void pye_stdio_hold_firmly(bool firmly)
{
    held.firmly = firmly;
}

size_t pye_stdio_held(void)
{
    return held.queue[STDERR].length;
}

const char *pye_stdio_held_text(void)
{
    return held.queue[STDERR].data;
}

int pye_stdio_replace_held(size_t from, const char *data, size_t length)
{
    held.queue[STDERR].length = from;
    return pye_queue_append(&held.queue[STDERR], data, length);
}

bool pye_stdio_is_mid_line(void)
{
    const struct output *output = streams[STDERR].output;
    return output != NULL && output->channel->mid_line;
}

/* What a finalizer printed without ending the line: there is no interpreter any more. */
static void write_rest(void)
{
    for (int i = 0; i < STREAMS; i++) {
        if (streams[i].output != NULL && streams[i].output->fd >= 0)
            pye_reader_write(streams[i].output->fd, &held.queue[i], pye_reader_soon_at_exit);
    }
}

int pye_stdio_close_down(void)
{
    by_line = true;
    Py_AtExit(write_rest);
    /* We hold the streams, so nobody else's last reference flushes them. */
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &streams[i];
        if (stream->output == NULL || stream->output->fd < 0 || PySys_GetObject(stream_names[i]) == stream->text)
            continue; /* where it is in its place, the interpreter flushes it */
        PyObject *none = PyObject_CallMethod(stream->text, "flush", NULL);
        if (none == NULL && PyErr_ExceptionMatches(PyExc_ValueError))
            PyErr_Clear(); /* detached */
        else if (none == NULL)
            return -1;
        Py_XDECREF(none);
    }
    return 0;
}

void pye_stdio_leave(void)
{
    for (int i = 0; i < STREAMS; i++) {
        struct output *output = streams[i].output;
        if (output == NULL || output->fd < 0)
            continue;
        struct pye_queue *queue = &held.queue[i];
        if (queue->length > 0)
            keep_last(output, queue->data, queue->length);
        pye_queue_clear(queue);
        pye_reader_write(output->fd, &output->kept, pye_reader_soon);
    }
}

void pye_stdio_before_fork(void)
{
    for (int i = 0; i < STREAMS; i++) {
        struct output *output = streams[i].output;
        if (output == NULL || output->kept.length == 0 || pye_channel_entered(output->channel))
            continue;
        if (pye_channel_enter(output->channel) < 0) {
            PyErr_Clear(); /* a handler that raises again: it has had its say */
            continue;
        }
        pye_reader_write(output->fd, &output->kept, pye_reader_soon);
        pye_channel_leave(output->channel);
    }
}

void pye_stdio_after_fork(void)
{
    held.depth = 0;
    held.whole = false;
    held.firmly = false;
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &streams[i];
        if (stream->output == NULL)
            continue;
        stream->output->in_passing = false;
        pye_queue_clear(&stream->output->kept);
        pye_queue_clear(&held.queue[i]);
        pye_channel_after_fork(&stream->channel);
    }
}

/* A new Output, where its file or the last can be sought in, since it knows that, under the text stream that everybody
 * holds. */
static int resume_stream(int index, bool anyhow)
{
    struct stream *stream = &streams[index];
    int fd = index + STDOUT_FILENO, result = -1;
    if (stream->output == NULL || fcntl(fd, F_GETFD) < 0)
        return 0;
    stream->channel.mid_line = false;
    stream->output->channel = find_channel(index, fd);
    if (!anyhow && !stream->seeks && lseek(fd, 0, SEEK_CUR) < 0)
        return 0;
    PyObject *output = make_output(index, fd);
    if (output != NULL && rebase(stream->text, output) == 0) {
        stream->output = output_of(output);
        Py_INCREF(output);
        result = 0;
    }
    Py_XDECREF(output);
    return result;
}

int pye_stdio_resume(bool all)
{
    return resume_stream(0, all) < 0 ? -1 : resume_stream(STDERR, all);
}
