/* SipHash-1-3: a keyed hash. Without the key nobody can make two names collide on purpose. */
#ifndef CW_SIPHASH_H
#define CW_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t k0, k1;
} cw_key;

/* A hash in the making; texts are added piece by piece. */
typedef struct {
    uint64_t v0, v1, v2, v3;
    uint64_t tail;  /* bytes that don't fill a word yet, the first one lowest */
    uint64_t total; /* bytes that were added */
} cw_siphash;

/* The key of sixteen bytes. */
cw_key cw_key_of(const uint8_t bytes[16]);

void cw_siphash_begin(cw_siphash *hash, cw_key key);
void cw_siphash_add(cw_siphash *hash, const void *bytes, size_t len);
uint64_t cw_siphash_end(cw_siphash *hash);

/* The hash of one text. */
uint64_t cw_siphash13(cw_key key, const void *bytes, size_t len);

#endif
