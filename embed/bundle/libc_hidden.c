/* More names of the functions in libc.c: those that headers put in their place, in programs built with fortification
 * (open) or against a C library before 2.33 (stat). */
#include "embed/bundle/libc.h"

#undef _FORTIFY_SOURCE
#include <fcntl.h>
#include <sys/stat.h>

#ifdef PYE_SERVES_LIBC

/* NOLINTBEGIN(bugprone-reserved-identifier): the C library's own names */

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);
int __xstat(int version, const char *path, struct stat *status);
int __xstat64(int version, const char *path, struct stat *status);
int __lxstat(int version, const char *path, struct stat *status);
int __lxstat64(int version, const char *path, struct stat *status);
int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags);
int __fxstatat64(int version, int directory, const char *path, struct stat *status, int flags);

int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

int __open64_2(const char *path, int flags)
{
    return open(path, flags);
}

int __openat_2(int directory, const char *path, int flags)
{
    return openat(directory, path, flags);
}

int __openat64_2(int directory, const char *path, int flags)
{
    return openat(directory, path, flags);
}

int __xstat(int version, const char *path, struct stat *status)
{
    (void)version; /* one form of struct stat is all that 64-bit systems have */
    return stat(path, status);
}

int __xstat64(int version, const char *path, struct stat *status)
{
    return __xstat(version, path, status);
}

int __lxstat(int version, const char *path, struct stat *status)
{
    (void)version;
    return lstat(path, status);
}

int __lxstat64(int version, const char *path, struct stat *status)
{
    return __lxstat(version, path, status);
}

int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags)
{
    (void)version;
    return fstatat(directory, path, status, flags);
}

int __fxstatat64(int version, int directory, const char *path, struct stat *status, int flags)
{
    return __fxstatat(version, directory, path, status, flags);
}

/* NOLINTEND(bugprone-reserved-identifier) */

#endif
