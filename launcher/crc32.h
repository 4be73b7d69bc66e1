/* The checksum of zip archives and of snapshots. */
#ifndef PYE_CRC32_H
#define PYE_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t pye_crc32(const void *bytes, size_t size);

#endif
