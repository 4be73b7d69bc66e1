/* Numbers in foreign bytes: the lowest byte first, at any address. */
#ifndef PYE_LITTLE_H
#define PYE_LITTLE_H

#include <stdint.h>

static inline uint16_t pye_get16(const unsigned char *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t pye_get32(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
