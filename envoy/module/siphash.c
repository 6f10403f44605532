#include "siphash.h"

#include <string.h>

#include "little_endian.h"

static inline uint64_t rotated(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void mix(cw_siphash *hash)
{
    hash->v0 += hash->v1;
    hash->v2 += hash->v3;
    hash->v1 = rotated(hash->v1, 13) ^ hash->v0;
    hash->v3 = rotated(hash->v3, 16) ^ hash->v2;
    hash->v0 = rotated(hash->v0, 32);
    hash->v2 += hash->v1;
    hash->v0 += hash->v3;
    hash->v1 = rotated(hash->v1, 17) ^ hash->v2;
    hash->v3 = rotated(hash->v3, 21) ^ hash->v0;
    hash->v2 = rotated(hash->v2, 32);
}

static inline void absorb(cw_siphash *hash, uint64_t word)
{
    hash->v3 ^= word;
    mix(hash);
    hash->v0 ^= word;
}

cw_key cw_key_of(const uint8_t bytes[16])
{
    return (cw_key){cw_u64(bytes), cw_u64(bytes + 8)};
}

void cw_siphash_begin(cw_siphash *hash, cw_key key)
{
    *hash = (cw_siphash){
        .v0 = key.k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = key.k1 ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key.k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = key.k1 ^ UINT64_C(0x7465646279746573),
    };
}

void cw_siphash_add(cw_siphash *hash, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at + len;
    unsigned held = (unsigned)(hash->total & 7);
    hash->total += len;
    while (at < end && held != 0) {
        hash->tail |= (uint64_t)*at++ << (8 * held++);
        if (held == 8) {
            absorb(hash, hash->tail);
            hash->tail = 0;
            held = 0;
        }
    }
    for (; end - at >= 8; at += 8)
        absorb(hash, cw_u64(at));
    for (; at < end; at++)
        hash->tail |= (uint64_t)*at << (8 * held++);
}

uint64_t cw_siphash_end(cw_siphash *hash)
{
    absorb(hash, hash->total << 56 | hash->tail);
    hash->v2 ^= 0xff;
    mix(hash);
    mix(hash);
    mix(hash);
    return hash->v0 ^ hash->v1 ^ hash->v2 ^ hash->v3;
}

uint64_t cw_siphash13(cw_key key, const void *bytes, size_t len)
{
    cw_siphash hash;
    cw_siphash_begin(&hash, key);
    cw_siphash_add(&hash, bytes, len);
    return cw_siphash_end(&hash);
}
