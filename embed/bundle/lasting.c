#include "embed/bundle/lasting.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#error "objects begin otherwise there"
#endif

enum { PIECE = 256 * 1024, ALIGNMENT = 16 };

/* What the collector has before an object: zeros say that it does not know it. */
enum { GC_HEAD = 16 };

static struct {
    char *next;
    size_t left;
} memory;

/* As the interpreter's own for small objects. */
static char *allocate(size_t size)
{
    PyObjectArenaAllocator allocator;
    PyObject_GetArenaAllocator(&allocator);
    char *piece = allocator.alloc(allocator.ctx, size);
    if (piece == NULL)
        PyErr_NoMemory();
    return piece;
}

static char *take(size_t size)
{
    if (size > SIZE_MAX / 2) {
        PyErr_NoMemory();
        return NULL;
    }
    size = (size + ALIGNMENT - 1) & -(size_t)ALIGNMENT;
    if (size > PIECE)
        return allocate(size);
    if (size > memory.left) {
        char *piece = allocate(PIECE);
        if (piece == NULL)
            return NULL;
        memory.next = piece;
        memory.left = PIECE;
    }
    memory.left -= size;
    memory.next += size;
    return memory.next - size;
}

/* An object that begins as the sample does, with room for size bytes more; before it, nothing for the collector. */
static PyObject *begin(PyObject *sample, size_t before, size_t beginning, size_t size)
{
    char *place = sample == NULL ? NULL : take(before + beginning + size);
    if (place == NULL)
        return NULL;
    memset(place, 0, before);
    PyObject *object = memcpy(place + before, sample, beginning);
    Py_SET_REFCNT(object, 2);
    return object;
}

PyObject *pye_lasting_bytes(const char *bytes, size_t size)
{
    static PyObject *sample;
    if (size < 2) /* there are such */
        return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    if (sample == NULL)
        sample = PyBytes_FromStringAndSize("..", 2);
    PyObject *object = begin(sample, 0, offsetof(PyBytesObject, ob_sval), size + 1);
    if (object == NULL)
        return NULL;
    Py_SET_SIZE((PyVarObject *)object, (Py_ssize_t)size);
    memcpy(PyBytes_AS_STRING(object), bytes, size);
    PyBytes_AS_STRING(object)[size] = '\0';
    return object;
}

PyObject *pye_lasting_tuple(Py_ssize_t length)
{
    static PyObject *sample;
    if (length == 0) /* there is one */
        return PyTuple_New(0);
    if (sample == NULL)
        sample = PyTuple_New(1);
    size_t size = (size_t)length * sizeof(PyObject *);
    PyObject *object = begin(sample, GC_HEAD, offsetof(PyTupleObject, ob_item), size);
    if (object == NULL)
        return NULL;
    Py_SET_SIZE((PyVarObject *)object, length);
    memset(((PyTupleObject *)object)->ob_item, 0, size);
    return object;
}

PyObject *pye_lasting_copy(PyObject *sample, size_t beginning, const void *rest, size_t size)
{
    PyObject *object = begin(sample, 0, beginning, size);
    if (object != NULL)
        memcpy((char *)object + beginning, rest, size);
    return object;
}
