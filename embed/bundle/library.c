/* dlopen of what is below the bundle's own path: extension modules, and whatever ctypes or a library asks for.
 *
 * The loader wants a file: it gets the copy in memory by its name in /proc. The libraries of the bundle that it needs
 * are loaded first; the loader then knows them by their sonames. */
#include "config.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/copy.h"
#include "embed/bundle/files.h"
#include "embed/bundle/libc.h"
#include "embed/bundle/tree.h"
#include "launcher/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef PYE_SERVES_LIBC

static void *known_dlopen;

static inline __typeof__(&dlopen) next_dlopen(void)
{
    void *next = __atomic_load_n(&known_dlopen, __ATOMIC_RELAXED);
    return (__typeof__(&dlopen))(next != NULL ? next : pye_libc_next(&known_dlopen, "dlopen"));
}

static void *dlopen_next(const char *path, int flags)
{
    return next_dlopen()(path, flags);
}

/* What was loaded, under the name that the loader knows it by: a second dlopen is to find the first. */
struct loaded {
    struct loaded *next;
    const struct pye_entry *entry;
    char path[];
};

static struct loaded *all_loaded;

static void remember(const struct pye_entry *entry, const char *path)
{
    size_t size = strlen(path) + 1;
    struct loaded *loaded = malloc(sizeof *loaded + size);
    if (loaded == NULL)
        return;
    loaded->entry = entry;
    memcpy(loaded->path, path, size);
    loaded->next = __atomic_load_n(&all_loaded, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&all_loaded, &loaded->next, loaded, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
}

static void *load_again(const struct pye_entry *entry, int flags)
{
    for (struct loaded *loaded = __atomic_load_n(&all_loaded, __ATOMIC_ACQUIRE); loaded != NULL; loaded = loaded->next) {
        void *handle = loaded->entry == entry ? dlopen_next(loaded->path, flags | RTLD_NOLOAD) : NULL;
        if (handle != NULL)
            return handle;
    }
    return NULL;
}

/* --- from memory --- */

enum { SERIAL_BYTES = 2 * 32, PATH_BYTES = SERIAL_BYTES + 32 };

/* The loader takes two equal paths for one library, and descriptors' numbers come again: so each path is spelled in its
 * own way, with "/" and "./" for the bits of a serial number. */
static void spell(char *path, size_t size, int fd)
{
    static unsigned last;
    char bits[SERIAL_BYTES + 1] = "";
    size_t length = 0;
    for (unsigned serial = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED); serial > 0; serial >>= 1) {
        if ((serial & 1) != 0)
            bits[length++] = '.';
        bits[length++] = '/';
    }
    bits[length] = '\0';
    snprintf(path, size, "/proc/self/fd/%s%d", bits, fd);
}

/* Each of the two ways sets *copied where the library could at least be laid down: what is wrong then, the loader says. */

static void *load_from_memory(const struct pye_entry *entry, int flags, bool *copied)
{
    char path[PATH_BYTES];
    int fd = pye_copy_in_memory(entry, true);
    if (fd < 0)
        return NULL;
    spell(path, sizeof path, fd);
    *copied = access(path, R_OK) == 0; /* not without /proc */
    void *handle = *copied ? dlopen_next(path, flags) : NULL;
    close(fd);
    if (handle != NULL)
        remember(entry, path);
    return handle;
}

/* --- from a directory, which is gone when the library is loaded --- */

static void *load_from_directory(const struct pye_entry *entry, int flags, bool *copied)
{
    char directory[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    const char *slash = memrchr(entry->name, '/', entry->name_length);
    const char *base = slash == NULL ? entry->name : slash + 1;
    void *handle = NULL;

    if (!pye_copy_make_directory(directory))
        return NULL;
    snprintf(path, sizeof path, "%s/%.*s", directory, (int)(entry->name + entry->name_length - base), base);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    bool written = fd >= 0 && pye_copy_write(entry, fd);
    if (fd >= 0)
        close(fd);
    if (written) {
        *copied = true;
        handle = dlopen_next(path, flags);
    }
    int error = errno;
    unlink(path);
    rmdir(directory);
    errno = error;
    if (handle != NULL)
        remember(entry, path);
    return handle;
}

/* --- from where it is --- */

static void *load_in_place(const struct pye_entry *entry, int flags)
{
    char path[PATH_MAX];
    return pye_files_check(entry, path) ? dlopen_next(path, flags) : NULL;
}

/* --- in order --- */

static void *load(const struct pye_entry *entry, int flags)
{
    if (pye_bundle()->has_files)
        return load_in_place(entry, flags);
    void *handle = load_again(entry, flags);
    if (handle != NULL || (flags & RTLD_NOLOAD) != 0)
        return handle;
    if (pye_tree_read(entry) == NULL) /* the line about it is printed */
        return NULL;
    bool copied = false;
    handle = load_from_memory(entry, flags, &copied);
    if (handle == NULL)
        handle = load_from_directory(entry, flags, &copied);
    if (!copied)
        pye_log("%.*s cannot be loaded: neither memory nor a directory takes it (%s): set TMPDIR to a directory that can be "
                "written to, on a file system without noexec", (int)entry->name_length, entry->name, strerror(errno));
    return handle;
}

static const struct pye_entry *find(const char *name, size_t length)
{
    return pye_archive_find(&pye_bundle()->archive, name, length);
}

/* The line of this library among those that need others: "NAME<tab>NEEDED<tab>NEEDED...", in the order of loading. */
static const char *needs_of(const struct pye_entry *entry, const char **end)
{
    const struct pye_entry *list = find(PYE_BUNDLE_LIBRARIES, sizeof PYE_BUNDLE_LIBRARIES - 1);
    const char *at = list == NULL ? NULL : pye_tree_read(list);
    const char *behind = at == NULL ? NULL : at + list->size;
    for (; at < behind; at = *end + 1) {
        *end = memchr(at, '\n', (size_t)(behind - at));
        if (*end == NULL)
            break;
        if ((size_t)(*end - at) > entry->name_length && at[entry->name_length] == '\t'
            && memcmp(at, entry->name, entry->name_length) == 0)
            return at + entry->name_length;
    }
    return NULL;
}

static void *load_with_needs(const struct pye_entry *entry, int flags)
{
    const char *end = NULL, *tab = needs_of(entry, &end);
    while (tab != NULL) {
        const char *name = tab + 1;
        tab = memchr(name, '\t', (size_t)(end - name));
        const struct pye_entry *needed = find(name, (size_t)((tab == NULL ? end : tab) - name));
        if (needed != NULL && load(needed, RTLD_NOW | RTLD_LOCAL) == NULL)
            return NULL;
    }
    return load(entry, flags);
}

static bool is_ours(const char *path)
{
    struct pye_node node;
    enum pye_node_kind kind = pye_tree_find(path, &node);
    return kind == PYE_FILE || kind == PYE_BESIDE;
}

static void *load_ours(const char *path, int flags)
{
    struct pye_node node;
    if (pye_tree_find(path, &node) == PYE_BESIDE)
        return dlopen_next(node.name, flags);
    return load_with_needs(node.entry, flags);
}

/* The C library looks at who calls it, for that one's run path: so this must be a jump, from a function without a place
 * on the stack. */
static void *serve_dlopen(const char *path, int flags)
{
    if (is_ours(path))
        return load_ours(path, flags);
    return next_dlopen()(path, flags);
}

extern __typeof__(dlopen)(dlopen) __attribute__((alias("serve_dlopen")));

#endif
