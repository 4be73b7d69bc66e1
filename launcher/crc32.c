#include "launcher/crc32.h"

#include "launcher/bare.h"
#include "launcher/cpuid.h"

#include <stdbool.h>
#if defined __x86_64__
#include <immintrin.h>
#endif

/* Four bits at a step: for what is too short to be worth a larger table, which has to be made. */
static uint32_t by_nibbles(uint32_t crc, const unsigned char *at, size_t size)
{
    static const uint32_t effect[] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    while (size-- > 0) {
        crc ^= *at++;
        crc = crc >> 4 ^ effect[crc & 0xf];
        crc = crc >> 4 ^ effect[crc & 0xf];
    }
    return crc;
}

/* Eight bytes at a step: table[k] is the effect of a byte with k more behind it. */
enum { STEP = 8, BYTES = 256, SHORT = 64 };

static uint32_t table[STEP][BYTES];

static void make_table(void)
{
    const uint32_t polynomial = 0xedb88320; /* zip's, bits reversed */
    for (uint32_t byte = 0; byte < BYTES; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? polynomial : 0);
        table[0][byte] = value;
    }
    for (int k = 1; k < STEP; k++) {
        for (uint32_t byte = 0; byte < BYTES; byte++)
            table[k][byte] = table[k - 1][byte] >> 8 ^ table[0][table[k - 1][byte] & 0xff];
    }
}

static uint32_t little_endian(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t by_table(uint32_t crc, const unsigned char *at, size_t size)
{
    if (table[STEP - 1][BYTES - 1] == 0)
        make_table();
    for (; size >= STEP; size -= STEP, at += STEP) {
        uint32_t low = little_endian(at) ^ crc, high = little_endian(at + 4);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24]
              ^ table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
    }
    return by_nibbles(crc, at, size);
}

#if defined __x86_64__

/* The processor multiplies polynomials without carry: 64 bytes at a step are folded into the 64 before them, several
 * times as fast as by the table. What is left is a block of 16 bytes that has the same remainder. */

enum { BLOCK = 16, LANES = 4, FOLDED = LANES * BLOCK };

_Static_assert((int)SHORT >= (int)FOLDED, "too short to be folded");

__attribute__((target("pclmul,sse2"))) static __m128i fold(__m128i block, __m128i onto, __m128i by)
{
    __m128i low = _mm_clmulepi64_si128(block, by, 0x00), high = _mm_clmulepi64_si128(block, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

static __m128i block_at(const unsigned char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* The remainders of x to the power of the distance, plus and minus 32 bits: 512 bits for four lanes, 128 for one. */
__attribute__((target("pclmul,sse2"))) static uint32_t by_folding(uint32_t crc, const unsigned char *at, size_t size)
{
    const __m128i far = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), near = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    unsigned char rest[BLOCK];
    __m128i lanes[LANES];

    for (int i = 0; i < LANES; i++)
        lanes[i] = block_at(at + (size_t)i * BLOCK);
    lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128((int)crc));
    for (at += FOLDED, size -= FOLDED; size >= FOLDED; at += FOLDED, size -= FOLDED) {
        for (int i = 0; i < LANES; i++)
            lanes[i] = fold(lanes[i], block_at(at + (size_t)i * BLOCK), far);
    }
    for (int i = 1; i < LANES; i++)
        lanes[0] = fold(lanes[0], lanes[i], near);
    for (; size >= BLOCK; at += BLOCK, size -= BLOCK)
        lanes[0] = fold(lanes[0], block_at(at), near);
    _mm_storeu_si128((__m128i *)(void *)rest, lanes[0]);
    return by_nibbles(by_nibbles(0, rest, BLOCK), at, size);
}

static bool can_fold(void)
{
    /* Not __builtin_cpu_supports: that asks the processor eight things before main, in every process. */
    enum { PCLMUL = 1 << 1 };
    uint32_t words[PYE_CPUID_WORDS];
    pye_cpuid_asked(0x1, 0, words);
    return words[PYE_ECX] & PCLMUL;
}

#else

static uint32_t by_folding(uint32_t crc, const unsigned char *at, size_t size)
{
    return by_table(crc, at, size);
}

static bool can_fold(void)
{
    return false;
}

#endif

uint32_t pye_crc32(const void *bytes, size_t size)
{
    const uint32_t begin = 0xffffffff;
    if (size < SHORT)
        return ~by_nibbles(begin, bytes, size);
    return ~(can_fold() ? by_folding(begin, bytes, size) : by_table(begin, bytes, size));
}
