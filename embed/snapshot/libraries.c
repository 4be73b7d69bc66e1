#include "embed/snapshot/libraries.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    TICKET_KEY_BYTES = 80,
    SET_TICKET_KEYS = 59,                    /* SSL_CTRL_SET_TLSEXT_TICKET_KEYS, of its interface */
    TWISTER_BYTES = 624 * sizeof(uint32_t), /* what a Mersenne twister is filled with; its position follows */
    TWISTERS = 64,
    COPIES = 16,
    ENTROPY_BYTES = 48,
    STRONG = 100, /* what gcrypt takes for as good as its own */
};

typedef void randomness(int, void *);
typedef long control(void *, int, long, void *);
typedef void add_to_openssl(const void *, int, double);
typedef void add_to_gcrypt(const void *, size_t, int);
typedef void seed_glib(uint32_t);

static struct {
    randomness *sqlite;
    control *ssl;
} functions;

/* The functions of one name in all libraries: wheels bring copies of their own. */
static struct pool {
    void *functions[COPIES];
    size_t count;
} openssl, gcrypt, glib;

/* numpy's, which takes long to fill them by its own functions. */
static struct {
    void *states[TWISTERS];
    size_t count;
} twisters;

/* A function of a library that is loaded already, or of one that it needs; NULL where it is not. */
static void *find(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *function = handle == NULL ? NULL : dlsym(handle, name);
    if (handle != NULL)
        dlclose(handle); /* who loaded it still holds it */
    return function;
}

/* Adds it to those that are known, unless it is among them. */
static bool note_pool(struct pool *pool, void *function)
{
    size_t i = 0;
    while (i < pool->count && pool->functions[i] != function)
        i++;
    if (function == NULL || i < pool->count)
        return true;
    if (i == COPIES)
        return false;
    pool->functions[pool->count++] = function;
    return true;
}

/* Whatever their files are called. */
static bool find_pools(void)
{
    void *self = dlopen(NULL, RTLD_LAZY);
    struct link_map *library = NULL;
    bool well = self != NULL && dlinfo(self, RTLD_DI_LINKMAP, &library) == 0;
    for (; well && library != NULL; library = library->l_next) {
        const char *name = *library->l_name == '\0' ? NULL : library->l_name;
        well = note_pool(&openssl, find(name, "RAND_add")) && note_pool(&gcrypt, find(name, "gcry_random_add_bytes"))
               && note_pool(&glib, find(name, "g_random_set_seed"));
    }
    return well;
}

PyObject *pye_snapshot_find_libraries(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    void *address = find("libsqlite3.so.0", "sqlite3_randomness");
    memcpy(&functions.sqlite, &address, sizeof address);
    address = find("libssl.so.3", "SSL_CTX_ctrl");
    if (address == NULL)
        address = find("libssl.so.1.1", "SSL_CTX_ctrl");
    memcpy(&functions.ssl, &address, sizeof address);
    if (find_pools())
        Py_RETURN_NONE;
    PyErr_Format(PyExc_RuntimeError, "more than %d copies of OpenSSL, libgcrypt or GLib are loaded", COPIES);
    return NULL;
}

/* Their own generators, of which the first two renew themselves where the process id is another, and only there. */
static int renew_pools(void)
{
    unsigned char entropy[ENTROPY_BYTES];
    uint32_t seed;
    add_to_openssl *to_openssl;
    add_to_gcrypt *to_gcrypt;
    seed_glib *to_glib;
    for (size_t i = 0; i < COPIES && i < openssl.count + gcrypt.count + glib.count; i++) {
        if (getrandom(entropy, sizeof entropy, 0) != sizeof entropy)
            return -1;
        memcpy(&to_openssl, &openssl.functions[i], sizeof to_openssl);
        memcpy(&to_gcrypt, &gcrypt.functions[i], sizeof to_gcrypt);
        memcpy(&to_glib, &glib.functions[i], sizeof to_glib);
        memcpy(&seed, entropy, sizeof seed);
        if (to_openssl != NULL)
            to_openssl(entropy, sizeof entropy, sizeof entropy);
        if (to_gcrypt != NULL)
            to_gcrypt(entropy, sizeof entropy, STRONG);
        if (to_glib != NULL)
            to_glib(seed);
    }
    return 0;
}

static void renew_libc(void)
{
    unsigned seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return;
    srandom(seed);
    srand48((long)seed);
}

/* The state that a bit generator of numpy's begins with, by the interface of numpy/random/bitgen.h. How the twister's is
 * laid out is nobody's promise: it counts if it is as the caller was told by the object itself. */
PyObject *pye_snapshot_note_twister(PyObject *module, PyObject *args)
{
    PyObject *capsule, *key;
    int position;
    (void)module;
    if (!PyArg_ParseTuple(args, "OSi", &capsule, &key, &position))
        return NULL;
    void **generator = PyCapsule_GetPointer(capsule, "BitGenerator");
    if (generator == NULL)
        return NULL;
    if (twisters.count == TWISTERS || PyBytes_GET_SIZE(key) != TWISTER_BYTES
        || memcmp(*generator, PyBytes_AS_STRING(key), TWISTER_BYTES) != 0
        || memcmp((char *)*generator + TWISTER_BYTES, &position, sizeof position) != 0)
        Py_RETURN_FALSE;
    twisters.states[twisters.count++] = *generator;
    Py_RETURN_TRUE;
}

static int renew_twisters(void)
{
    for (size_t i = 0; i < twisters.count; i++) {
        for (size_t done = 0; done < TWISTER_BYTES;) {
            ssize_t got = getrandom((char *)twisters.states[i] + done, TWISTER_BYTES - done, 0);
            if (got < 0 && errno != EINTR)
                return -1;
            done += got < 0 ? 0 : (size_t)got;
        }
    }
    return 0;
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
    if (renew_pools() < 0 || renew_twisters() < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
