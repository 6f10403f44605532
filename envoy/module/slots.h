/* Fingerprints and their cells in open addressing: one writer, any number of readers, no lock.
 *
 * A bucket is one cache line of eight words. A word holds one name:
 *
 *     bits 16..63   fingerprint: the low 48 bits of the name's hash; never 0
 *     bits 0..15    number: what belongs to the name; never 0
 *
 * The word 0 is free and was never used; the word 1 was used and is free again. A name lies in its
 * home bucket (which the hash's upper bits choose), or, where that was full, in one behind it; a
 * search ends at the first bucket with a word that was never used. `reach` is how far behind its
 * home any name lies, so that a search ends in any case.
 *
 * Each change stores one aligned word, so a reader sees the state before it or the one after it.
 * A name keeps its word for as long as it is there.
 *
 * A copy into a larger table needs the whole hash. Its upper 16 bits lie apart, where only the
 * writer looks.
 */
#ifndef CW_SLOTS_H
#define CW_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_BUCKET 8
#define CW_REACH_MAX 128 /* a name that would lie further away needs a larger table */

typedef struct cw_slots {
    uint64_t buckets;
    _Atomic uint64_t *words;
    uint16_t *uppers;
    _Atomic uint32_t reach;
    uint64_t names; /* the writer's */
    uint64_t dead;  /* words that were used and are free again */
} cw_slots;

typedef enum { CW_SET, CW_FULL } cw_set;

/* Slots for this many names, with room for some more; NULL: no memory. */
cw_slots *cw_slots_new(uint64_t names);
void cw_slots_free(void *slots);
size_t cw_slots_bytes(const cw_slots *slots);

/* The number of a name; 0: it is not there. For any thread. */
uint16_t cw_slots_get(const cw_slots *slots, uint64_t hash);

/* Give a name a number; 0 takes the name away. For the writer. */
cw_set cw_slots_set(cw_slots *slots, uint64_t hash, uint16_t number);

/* Tell whether a larger table, or one without dead words, should be built. */
bool cw_slots_are_crowded(const cw_slots *slots);

/* Copy one bucket into other slots. */
cw_set cw_slots_copy(const cw_slots *from, uint64_t bucket, cw_slots *to);

#endif
