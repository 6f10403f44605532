/* The revisions below which answers are void, by shard of the keyspace.
 *
 * The text "7;3:8,200:9" (control_plane/compiler/epochs.py) says that answers older than revision 7
 * are void, of shard 3 those older than 8, and of shard 200 those older than 9. What is kept for a
 * shard is the larger one of the floor and its epoch, so a reader loads one word and never sees a
 * new floor beside an old epoch. The text "off" makes all answers void; so does no text.
 */
#ifndef CW_EPOCHS_H
#define CW_EPOCHS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_SHARDS 256
#define CW_ALL_VOID UINT64_MAX

typedef struct {
    _Atomic uint64_t least[CW_SHARDS]; /* by shard: the oldest revision that counts */
} cw_epochs;

/* All answers are void. */
void cw_epochs_off(cw_epochs *epochs);

/* Take a text. False: it is malformed, and nothing has changed. */
bool cw_epochs_set(cw_epochs *epochs, const char *text, size_t len);

/* The shard of a claim, as ClaimKey.shard computes it. */
unsigned cw_shard(const char *bucket, size_t bucket_len, const char *value, size_t value_len);

#endif
