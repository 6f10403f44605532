/* CRC-32 as zlib computes it: of frames, and of claims (their shard). */
#ifndef CW_CRC32_H
#define CW_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Go on with a checksum (0: begin one). */
uint32_t cw_crc32(uint32_t crc, const void *bytes, size_t len);

#endif
