/* For code that runs where there is no C library: before the dynamic loader has come, and while the memory of a program is
 * exchanged for another's. It makes up libbare.a, has no canary, and calls nothing but itself, which tests/rules looks at.
 * All such files include this one, and none <string.h>. */
#ifndef PYE_BARE_H
#define PYE_BARE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

/* Compilers call these by themselves. */
void *pye_bare_memcpy(void *to, const void *from, size_t bytes);
void *pye_bare_memset(void *to, int byte, size_t bytes);
__asm__(".set memcpy, pye_bare_memcpy\n\t.set memset, pye_bare_memset");

/* What the kernel answers: a negative error number where it fails. */
static inline __attribute__((always_inline)) long pye_call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                                           uint64_t e, uint64_t f)
{
    register uint64_t fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

#endif

#endif
