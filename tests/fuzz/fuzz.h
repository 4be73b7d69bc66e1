/* What every fuzzer includes: libFuzzer's entry, and what is to hold for whatever it comes up with. */
#ifndef PYE_TESTS_FUZZ_H
#define PYE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                               \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                            \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

/* A copy of text with a NUL behind it, for readers that have limits of length: a fuzzer sees no progress on the way to
 * one, so each byte from 1 to 8 stands for 16 to 2048 letters. The caller frees it; *size becomes its length. */
static inline char *expand(const uint8_t *data, size_t *size)
{
    enum { LONGEST = 64 * 1024, MOST = 2048, SHORTEST_BITS = 3 };
    char *text = malloc(LONGEST + MOST + 1);
    size_t length = 0;
    MUST(text != NULL);
    for (size_t i = 0; i < *size && length < LONGEST; i++) {
        size_t times = data[i] >= 1 && data[i] <= 8 ? (size_t)1 << (data[i] + SHORTEST_BITS) : 1;
        memset(text + length, times > 1 ? 'a' : data[i], times);
        length += times;
    }
    text[length] = '\0';
    *size = length;
    return realloc(text, length + 1); /* so that the sanitizer sees a step too far */
}

#endif
