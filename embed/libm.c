/* The functions of libm that libpython uses, for libpython alone: each goes on to the one that the loader finds. So the
 * executable starts without libm, which would be a fifth of what a health check has in memory, and an eighth of its
 * instructions.
 *
 * A version of Python may use one that is not in this list: then libm is linked as any library is, and all is well. */
#include "config.h"

#include "embed/libm.h"

#include "embed/bundle/libc.h"

#if defined PYE_LOADS_LIBM && defined PYE_SERVES_LIBC

#include "launcher/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/lib-names.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

void pye_libm_load(void)
{
    static bool loaded;
    if (__atomic_load_n(&loaded, __ATOMIC_ACQUIRE))
        return;
    /* Past our own dlopen, which is for the program. */
    if (PYE_LIBC_FOUND(dlopen, pye_libc_next)(LIBM_SO, RTLD_LAZY | RTLD_GLOBAL) != NULL)
        __atomic_store_n(&loaded, true, __ATOMIC_RELEASE);
}

/* The caller looks at errno behind the function's own work, and at nothing that the loader leaves there. */
static void *find(void **known, const char *name)
{
    int before = errno;
    pye_libm_load();
    void *function = pye_libc_next(known, name);
    errno = before;
    if (function != NULL)
        return function;
    pye_log("%s cannot be loaded, and Python needs its %s: put it where libc.so.6 is", LIBM_SO, name);
    _exit(EXIT_FAILURE);
}

#define HIDDEN __attribute__((visibility("hidden")))
#define ONE(name) HIDDEN double(name)(double x) { return PYE_LIBC_FOUND(name, find)(x); }
#define TWO(name) HIDDEN double(name)(double x, double y) { return PYE_LIBC_FOUND(name, find)(x, y); }

ONE(acos)
ONE(acosh)
ONE(asin)
ONE(asinh)
ONE(atan)
ONE(atanh)
ONE(cbrt)
ONE(ceil)
ONE(cos)
ONE(cosh)
ONE(erf)
ONE(erfc)
ONE(exp)
ONE(exp2)
ONE(expm1)
ONE(log)
ONE(log10)
ONE(log1p)
ONE(log2)
ONE(round)
ONE(sin)
ONE(sinh)
ONE(sqrt)
ONE(tan)
ONE(tanh)
TWO(atan2)
TWO(fmod)
TWO(hypot)
TWO(nextafter)
TWO(pow)

#define TWO_TO_52 4503599627370496.0

/* By itself, since each start of Python takes one. What is 2^52 or more, or no number, has no fraction. */
HIDDEN double floor(double x)
{
    if (!(x > -TWO_TO_52 && x < TWO_TO_52))
        return x;
    double whole = (double)(int64_t)x;
    return copysign(whole > x ? whole - 1 : whole, x);
}

HIDDEN double fma(double x, double y, double z)
{
    return PYE_LIBC_FOUND(fma, find)(x, y, z);
}

HIDDEN void sincos(double x, double *sine, double *cosine)
{
    PYE_LIBC_FOUND(sincos, find)(x, sine, cosine);
}

#else

void pye_libm_load(void)
{
}

#endif
