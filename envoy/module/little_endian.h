/* Integers in bytes, the lowest first, at any alignment and on any machine. */
#ifndef CW_LITTLE_ENDIAN_H
#define CW_LITTLE_ENDIAN_H

#include <stdint.h>

static inline uint16_t cw_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t cw_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t cw_u64(const uint8_t *at)
{
    return (uint64_t)cw_u32(at) | (uint64_t)cw_u32(at + 4) << 32;
}

static inline void cw_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void cw_put_u32(uint8_t *at, uint32_t value)
{
    cw_put_u16(at, (uint16_t)value);
    cw_put_u16(at + 2, (uint16_t)(value >> 16));
}

static inline void cw_put_u64(uint8_t *at, uint64_t value)
{
    cw_put_u32(at, (uint32_t)value);
    cw_put_u32(at + 4, (uint32_t)(value >> 32));
}

#endif
