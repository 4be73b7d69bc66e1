#include "embed/snapshot/libraries.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TICKET_KEY_BYTES = 80, SET_TICKET_KEYS = 59 /* SSL_CTRL_SET_TLSEXT_TICKET_KEYS, of its interface */ };

typedef void randomness(int, void *);
typedef long control(void *, int, long, void *);

static struct {
    randomness *sqlite;
    control *ssl;
} functions;

/* A function of a library that is loaded already; NULL where it is not. */
static void *find(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *function = handle == NULL ? NULL : dlsym(handle, name);
    if (handle != NULL)
        dlclose(handle); /* who loaded it still holds it */
    return function;
}

void pye_snapshot_find_libraries(void)
{
    void *address = find("libsqlite3.so.0", "sqlite3_randomness");
    memcpy(&functions.sqlite, &address, sizeof address);
    address = find("libssl.so.3", "SSL_CTX_ctrl");
    if (address == NULL)
        address = find("libssl.so.1.1", "SSL_CTX_ctrl");
    memcpy(&functions.ssl, &address, sizeof address);
}

static void renew_libc(void)
{
    unsigned seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return;
    srandom(seed);
    srand48((long)seed);
}

/* What CPython's object holds first, in every version so far. */
static void *context_of(PyObject *object)
{
    void *context;
    memcpy(&context, (char *)object + sizeof(PyObject), sizeof context);
    return context;
}

static void renew_tickets(PyObject *contexts)
{
    unsigned char keys[TICKET_KEY_BYTES];
    for (Py_ssize_t i = 0; functions.ssl != NULL && i < PyList_GET_SIZE(contexts); i++) {
        if (getrandom(keys, sizeof keys, 0) == sizeof keys)
            functions.ssl(context_of(PyList_GET_ITEM(contexts, i)), SET_TICKET_KEYS, sizeof keys, keys);
    }
}

PyObject *pye_snapshot_renew_libraries(PyObject *module, PyObject *contexts)
{
    (void)module;
    if (!PyList_Check(contexts)) {
        PyErr_SetString(PyExc_TypeError, "a list of contexts");
        return NULL;
    }
    renew_libc();
    if (functions.sqlite != NULL)
        functions.sqlite(0, NULL); /* the next one seeds */
    renew_tickets(contexts);
    Py_RETURN_NONE;
}
