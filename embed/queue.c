#include "embed/queue.h"

#include <Python.h>

#include <string.h>

void pye_queue_clear(struct pye_queue *queue)
{
    PyMem_RawFree(queue->data);
    *queue = (struct pye_queue){NULL, 0, 0};
}

void pye_queue_drop(struct pye_queue *queue, size_t count)
{
    queue->length -= count;
    memmove(queue->data, queue->data + count, queue->length);
}

int pye_queue_append(struct pye_queue *queue, const char *data, size_t length)
{
    size_t wanted = queue->length + length;
    if (wanted > queue->room) {
        size_t room = wanted + wanted / 2 + 256;
        char *grown = PyMem_RawRealloc(queue->data, room);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        queue->data = grown;
        queue->room = room;
    }
    memcpy(queue->data + queue->length, data, length);
    queue->length = wanted;
    return 0;
}
