#include "launcher/bare.h"

#if defined(__x86_64__)

/* Instructions: for what a loop does the compiler would call these. */

void *pye_bare_memcpy(void *to, const void *from, size_t bytes)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
    return to;
}

void *pye_bare_memset(void *to, int byte, size_t bytes)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(byte) : "memory");
    return to;
}

#endif
