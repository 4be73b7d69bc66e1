/* The C library's own functions of the names that the executable defines, too. */
#ifndef PYE_LIBC_H
#define PYE_LIBC_H

#include <features.h>

#if defined __GLIBC__ && defined __LP64__
#define PYE_SERVES_LIBC 1
#endif

/* The function of that name behind ours in the loader's order, remembered in *known. */
void *pye_libc_next(void **known, const char *name);

/* A function that find, which is like pye_libc_next, has to find but once. */
#define PYE_LIBC_FOUND(name, find) \
    (__extension__({ \
        static void *known_; \
        void *found_ = __atomic_load_n(&known_, __ATOMIC_RELAXED); \
        (__typeof__(&(name)))(found_ != NULL ? found_ : (find)(&known_, #name)); \
    }))

#endif
