#include "launcher/crc32.h"

#include <string.h>

/* Eight bytes at a step: table[k] is the effect of a byte with k more behind it. */
enum { STEP = 8, BYTES = 256 };

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

uint32_t pye_crc32(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint32_t crc = 0xffffffff;

    if (table[STEP - 1][BYTES - 1] == 0)
        make_table();
    for (; size >= STEP; size -= STEP, at += STEP) {
        uint32_t low = little_endian(at) ^ crc, high = little_endian(at + 4);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24]
              ^ table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
    }
    while (size-- > 0)
        crc = crc >> 8 ^ table[0][(crc ^ *at++) & 0xff];
    return ~crc;
}
