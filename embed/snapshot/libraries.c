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

typedef long control(void *, int, long, void *);

static control *set_ssl;

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

/* --- generators of their own --- */

static bool draw(void *to, size_t bytes)
{
    return getrandom(to, bytes, 0) == (ssize_t)bytes;
}

/* This and the next renew themselves where the process id is another, and only there. */
static bool renew_openssl(void *function)
{
    void (*add)(const void *, int, double);
    unsigned char entropy[ENTROPY_BYTES];
    memcpy(&add, &function, sizeof add);
    if (!draw(entropy, sizeof entropy))
        return false;
    add(entropy, sizeof entropy, sizeof entropy);
    return true;
}

static bool renew_gcrypt(void *function)
{
    void (*add)(const void *, size_t, int);
    unsigned char entropy[ENTROPY_BYTES];
    memcpy(&add, &function, sizeof add);
    if (!draw(entropy, sizeof entropy))
        return false;
    add(entropy, sizeof entropy, STRONG);
    return true;
}

static bool renew_glib(void *function)
{
    void (*set)(uint32_t);
    uint32_t seed;
    memcpy(&set, &function, sizeof set);
    if (!draw(&seed, sizeof seed))
        return false;
    set(seed);
    return true;
}

/* The next one who asks seeds. */
static bool renew_sqlite(void *function)
{
    void (*randomness)(int, void *);
    memcpy(&randomness, &function, sizeof randomness);
    randomness(0, NULL);
    return true;
}

static struct generator {
    const char *symbol;
    bool (*renew)(void *function);
    void *functions[COPIES]; /* of this name, in all libraries: wheels bring copies of their own */
    size_t count;
} generators[] = {
    {.symbol = "RAND_add", .renew = renew_openssl},
    {.symbol = "gcry_random_add_bytes", .renew = renew_gcrypt},
    {.symbol = "g_random_set_seed", .renew = renew_glib},
    {.symbol = "sqlite3_randomness", .renew = renew_sqlite},
};

enum { GENERATORS = sizeof generators / sizeof *generators };

/* Adds the library's function to those that are known, unless it is among them. */
static bool note_generator(struct generator *generator, const char *library)
{
    void *function = find(library, generator->symbol);
    size_t i = 0;
    while (i < generator->count && generator->functions[i] != function)
        i++;
    if (function == NULL || i < generator->count)
        return true;
    if (i == COPIES)
        return false;
    generator->functions[generator->count++] = function;
    return true;
}

/* Whatever their files are called. */
static bool find_generators(void)
{
    void *self = dlopen(NULL, RTLD_LAZY);
    struct link_map *library = NULL;
    bool well = self != NULL && dlinfo(self, RTLD_DI_LINKMAP, &library) == 0;
    for (; well && library != NULL; library = library->l_next) {
        for (size_t i = 0; well && i < GENERATORS; i++)
            well = note_generator(&generators[i], *library->l_name == '\0' ? NULL : library->l_name);
    }
    return well;
}

PyObject *pye_snapshot_find_libraries(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    void *address = find("libssl.so.3", "SSL_CTX_ctrl");
    if (address == NULL)
        address = find("libssl.so.1.1", "SSL_CTX_ctrl");
    memcpy(&set_ssl, &address, sizeof address);
    if (find_generators())
        Py_RETURN_NONE;
    PyErr_Format(PyExc_RuntimeError, "more than %d copies of OpenSSL, libgcrypt, GLib or sqlite are loaded", COPIES);
    return NULL;
}

static bool renew_generators(void)
{
    for (size_t i = 0; i < GENERATORS; i++) {
        for (size_t copy = 0; copy < generators[i].count; copy++) {
            if (!generators[i].renew(generators[i].functions[copy]))
                return false;
        }
    }
    return true;
}

static void renew_libc(void)
{
    unsigned seed;
    if (!draw(&seed, sizeof seed))
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
    for (Py_ssize_t i = 0; set_ssl != NULL && i < PyList_GET_SIZE(contexts); i++) {
        if (draw(keys, sizeof keys))
            set_ssl(context_of(PyList_GET_ITEM(contexts, i)), SET_TICKET_KEYS, sizeof keys, keys);
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
    renew_tickets(contexts);
    if (!renew_generators() || renew_twisters() < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
