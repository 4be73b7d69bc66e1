/* Functions of the C library that take paths, defined in the executable and exported by it: whoever calls them, Python
 * or any library, gets what is below the bundle's own path from memory. Everything else goes on to the C library.
 *
 * A file is opened as a copy in memory (memfd), which is as real a descriptor as any. A directory can be listed, not
 * opened as a descriptor. With glibc on 64 bits, the only place where this is compiled, the "64" names are the same
 * functions. */
#include "config.h"

#include "embed/bundle/bundle.h"
#include "embed/bundle/copy.h"
#include "embed/bundle/libc.h"
#include "embed/bundle/tree.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

void *pye_libc_next(void **known, const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    __atomic_store_n(known, function, __ATOMIC_RELAXED);
    return function;
}

#ifdef PYE_SERVES_LIBC

/* The function that we stand in front of. */
#define NEXT(name) PYE_LIBC_FOUND(name, pye_libc_next)

static int fail(int error)
{
    errno = error;
    return -1;
}

/* --- opening --- */

static int open_node(const struct pye_node *node, int flags)
{
    if (node->kind == PYE_MISSING)
        return fail((flags & O_CREAT) != 0 ? EROFS : ENOENT);
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0)
        return fail((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? EEXIST : EROFS);
    if (node->kind != PYE_FILE)
        return fail(EISDIR);
    if ((flags & O_DIRECTORY) != 0)
        return fail(ENOTDIR);
    return pye_copy_open(node->entry, (flags & O_CLOEXEC) != 0);
}

/* A mode is there only where a file may be made. */
#define MODE_OF(flags) \
    (__extension__({ \
        mode_t mode_ = 0; \
        if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) { \
            va_list arguments; \
            va_start(arguments, flags); \
            mode_ = va_arg(arguments, mode_t); \
            va_end(arguments); \
        } \
        mode_; \
    }))

static int serve_open(const char *path, int flags, ...)
{
    struct pye_node node;
    mode_t mode = MODE_OF(flags);
    switch (pye_tree_serve(path, &node)) {
    case PYE_FILE:
    case PYE_DIRECTORY:
    case PYE_MISSING:
        return open_node(&node, flags);
    case PYE_BESIDE:
        path = node.name;
        break;
    default:
        break;
    }
    return NEXT(open)(path, flags, mode);
}

static int serve_openat(int directory, const char *path, int flags, ...)
{
    struct pye_node node;
    mode_t mode = MODE_OF(flags);
    enum pye_node_kind kind = pye_tree_serve(path, &node);
    if (kind == PYE_FILE || kind == PYE_DIRECTORY || kind == PYE_MISSING)
        return open_node(&node, flags);
    return NEXT(openat)(directory, kind == PYE_BESIDE ? node.name : path, flags, mode);
}

static FILE *serve_fopen(const char *path, const char *mode)
{
    struct pye_node node;
    enum pye_node_kind kind = pye_tree_serve(path, &node);
    if (kind != PYE_FILE && kind != PYE_DIRECTORY && kind != PYE_MISSING)
        return NEXT(fopen)(kind == PYE_BESIDE ? node.name : path, mode);
    bool writes = strpbrk(mode, "wa+") != NULL;
    int fd = open_node(&node, (writes ? O_RDWR : O_RDONLY) | (strchr(mode, 'e') != NULL ? O_CLOEXEC : 0));
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);
    if (fd >= 0 && file == NULL)
        close(fd);
    return file;
}

/* --- asking --- */

static int stat_node(const struct pye_node *node, struct stat *status)
{
    if (node->kind == PYE_MISSING)
        return fail(ENOENT);
    pye_tree_stat(node, status);
    return 0;
}

/* For the functions that take one path and do not change anything: OURS answers for a node, THEIRS is the call. */
#define ANSWER(path, ours, theirs) \
    struct pye_node node; \
    switch (pye_tree_serve(path, &node)) { \
    case PYE_FILE: \
    case PYE_DIRECTORY: \
    case PYE_MISSING: \
        return ours; \
    case PYE_BESIDE: \
        (path) = node.name; \
        break; \
    default: \
        break; \
    } \
    return theirs

static int serve_stat(const char *path, struct stat *status)
{
    ANSWER(path, stat_node(&node, status), NEXT(stat)(path, status));
}

static int serve_lstat(const char *path, struct stat *status)
{
    ANSWER(path, stat_node(&node, status), NEXT(lstat)(path, status));
}

static int serve_fstatat(int directory, const char *path, struct stat *status, int flags)
{
    ANSWER(path, stat_node(&node, status), NEXT(fstatat)(directory, path, status, flags));
}

static int access_node(const struct pye_node *node, int mode)
{
    if (node->kind == PYE_MISSING)
        return fail(ENOENT);
    if ((mode & W_OK) != 0)
        return fail(EROFS);
    return (mode & X_OK) != 0 && node->kind == PYE_FILE ? fail(EACCES) : 0;
}

static int serve_access(const char *path, int mode)
{
    ANSWER(path, access_node(&node, mode), NEXT(access)(path, mode));
}

static int serve_euidaccess(const char *path, int mode)
{
    ANSWER(path, access_node(&node, mode), NEXT(euidaccess)(path, mode));
}

static int serve_faccessat(int directory, const char *path, int mode, int flags)
{
    ANSWER(path, access_node(&node, mode), NEXT(faccessat)(directory, path, mode, flags));
}

static ssize_t serve_readlink(const char *path, char *buffer, size_t size)
{
    ANSWER(path, fail(node.kind == PYE_MISSING ? ENOENT : EINVAL), NEXT(readlink)(path, buffer, size));
}

/* Copying a file asks for these, and takes this answer for "there are none". */

static int no_attributes(const struct pye_node *node)
{
    return fail(node->kind == PYE_MISSING ? ENOENT : ENOTSUP);
}

static ssize_t serve_listxattr(const char *path, char *list, size_t size)
{
    ANSWER(path, no_attributes(&node), NEXT(listxattr)(path, list, size));
}

static ssize_t serve_llistxattr(const char *path, char *list, size_t size)
{
    ANSWER(path, no_attributes(&node), NEXT(llistxattr)(path, list, size));
}

static ssize_t serve_getxattr(const char *path, const char *name, void *value, size_t size)
{
    ANSWER(path, no_attributes(&node), NEXT(getxattr)(path, name, value, size));
}

static ssize_t serve_lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    ANSWER(path, no_attributes(&node), NEXT(lgetxattr)(path, name, value, size));
}

/* --- changing: a read-only file system --- */

static int serve_mkdir(const char *path, mode_t mode)
{
    ANSWER(path, fail(node.kind == PYE_MISSING ? EROFS : EEXIST), NEXT(mkdir)(path, mode));
}

static int serve_rmdir(const char *path)
{
    ANSWER(path, fail(node.kind == PYE_MISSING ? ENOENT : EROFS), NEXT(rmdir)(path));
}

static int serve_unlink(const char *path)
{
    ANSWER(path, fail(node.kind == PYE_MISSING ? ENOENT : EROFS), NEXT(unlink)(path));
}

static int serve_chmod(const char *path, mode_t mode)
{
    ANSWER(path, fail(node.kind == PYE_MISSING ? ENOENT : EROFS), NEXT(chmod)(path, mode));
}

static int serve_rename(const char *path, const char *to)
{
    struct pye_node other;
    enum pye_node_kind kind = pye_tree_serve(to, &other);
    if (kind == PYE_FILE || kind == PYE_DIRECTORY || kind == PYE_MISSING)
        return fail(EROFS);
    if (kind == PYE_BESIDE)
        to = other.name;
    ANSWER(path, fail(node.kind == PYE_MISSING ? ENOENT : EROFS), NEXT(rename)(path, to));
}

/* --- listing --- */

/* One of ours, among the DIR pointers that the C library hands out: it lies in the pool. */
struct listing {
    bool open;
    const struct pye_entry *first, *entry;
    size_t length; /* of the directory's name */
    long place;    /* entries given so far, "." and ".." too */
    struct dirent record;
};

enum { LISTINGS = 256 };
static struct listing pool[LISTINGS];

static struct listing *ours(DIR *directory)
{
    struct listing *listing = (struct listing *)(void *)directory;
    return listing >= pool && listing < pool + LISTINGS ? listing : NULL;
}

static DIR *open_listing(const struct pye_node *node)
{
    if (node->kind == PYE_MISSING || node->kind == PYE_FILE) {
        errno = node->kind == PYE_FILE ? ENOTDIR : ENOENT;
        return NULL;
    }
    for (struct listing *listing = pool; listing < pool + LISTINGS; listing++) {
        if (__atomic_test_and_set(&listing->open, __ATOMIC_ACQUIRE))
            continue;
        listing->first = listing->entry = node->entry;
        listing->length = node->length;
        listing->place = 0;
        return (DIR *)(void *)listing;
    }
    errno = EMFILE;
    return NULL;
}

static DIR *serve_opendir(const char *path)
{
    struct pye_node node;
    enum pye_node_kind kind = pye_tree_serve(path, &node);
    if (kind == PYE_OUTSIDE || kind == PYE_BESIDE)
        return NEXT(opendir)(kind == PYE_BESIDE ? node.name : path);
    return open_listing(&node);
}

static struct dirent *give(struct listing *listing, const char *name, size_t length, bool is_directory)
{
    struct dirent *record = &listing->record;
    if (length >= sizeof record->d_name)
        length = sizeof record->d_name - 1;
    memcpy(record->d_name, name, length);
    record->d_name[length] = '\0';
    record->d_type = is_directory ? DT_DIR : DT_REG;
    record->d_ino = 1;
    record->d_reclen = sizeof *record;
    record->d_off = ++listing->place;
    return record;
}

static struct dirent *serve_readdir(DIR *directory)
{
    struct listing *listing = ours(directory);
    const char *name;
    size_t length;
    bool is_directory;
    if (listing == NULL)
        return NEXT(readdir)(directory);
    if (listing->place < 2)
        return give(listing, "..", (size_t)listing->place + 1, true);
    if (listing->entry == NULL)
        return NULL;
    listing->entry = pye_archive_next(&pye_bundle()->archive, listing->length, listing->entry, &name, &length,
                                      &is_directory);
    return give(listing, name, length, is_directory);
}

static void serve_rewinddir(DIR *directory)
{
    struct listing *listing = ours(directory);
    if (listing == NULL) {
        NEXT(rewinddir)(directory);
        return;
    }
    listing->entry = listing->first;
    listing->place = 0;
}

static long serve_telldir(DIR *directory)
{
    struct listing *listing = ours(directory);
    return listing == NULL ? NEXT(telldir)(directory) : listing->place;
}

static void serve_seekdir(DIR *directory, long place)
{
    struct listing *listing = ours(directory);
    if (listing == NULL) {
        NEXT(seekdir)(directory, place);
        return;
    }
    serve_rewinddir(directory);
    while (listing->place < place && serve_readdir(directory) != NULL)
        continue;
}

static int serve_dirfd(DIR *directory)
{
    return ours(directory) == NULL ? NEXT(dirfd)(directory) : fail(ENOTSUP);
}

static int serve_closedir(DIR *directory)
{
    struct listing *listing = ours(directory);
    if (listing == NULL)
        return NEXT(closedir)(directory);
    __atomic_clear(&listing->open, __ATOMIC_RELEASE);
    return 0;
}

/* --- the names under which all of it is seen --- */

#define EXPORT(name, function) extern __typeof__(name)(name) __attribute__((alias(#function)))

EXPORT(open, serve_open);
EXPORT(openat, serve_openat);
EXPORT(fopen, serve_fopen);
EXPORT(stat, serve_stat);
EXPORT(lstat, serve_lstat);
EXPORT(fstatat, serve_fstatat);
EXPORT(access, serve_access);
EXPORT(euidaccess, serve_euidaccess);
EXPORT(faccessat, serve_faccessat);
EXPORT(readlink, serve_readlink);
EXPORT(listxattr, serve_listxattr);
EXPORT(llistxattr, serve_llistxattr);
EXPORT(getxattr, serve_getxattr);
EXPORT(lgetxattr, serve_lgetxattr);
EXPORT(mkdir, serve_mkdir);
EXPORT(rmdir, serve_rmdir);
EXPORT(unlink, serve_unlink);
EXPORT(chmod, serve_chmod);
EXPORT(rename, serve_rename);
EXPORT(opendir, serve_opendir);
EXPORT(readdir, serve_readdir);
EXPORT(rewinddir, serve_rewinddir);
EXPORT(telldir, serve_telldir);
EXPORT(seekdir, serve_seekdir);
EXPORT(dirfd, serve_dirfd);
EXPORT(closedir, serve_closedir);
EXPORT(open64, serve_open);
EXPORT(openat64, serve_openat);
EXPORT(fopen64, serve_fopen);
EXPORT(stat64, serve_stat);
EXPORT(lstat64, serve_lstat);
EXPORT(fstatat64, serve_fstatat);
EXPORT(eaccess, serve_euidaccess);
EXPORT(readdir64, serve_readdir);

#endif
