/* The edge map of this process: who owns a name, and whether that is certain.
 *
 * The stream's reader (stream.h) builds a table and keeps it current, on the main thread. The
 * configurations of filters set epochs. Programs on all threads ask for owners. An answer counts if
 * the table is complete up to the epoch of the name's shard, however long ago that was. That nobody
 * owns a name counts only if, besides, the table was current within the last second: a claim of a
 * new name moves no epoch.
 */
#ifndef CW_MAP_H
#define CW_MAP_H

#include "asking.h"
#include "epochs.h"
#include "program.h"
#include "table.h"

#define CW_RECENT_MS 1000

typedef struct cw_map {
    void *_Atomic live; /* the table that answers, or NULL */
    cw_table *building; /* the writer's: the one that shall replace it */
    cw_garbage garbage;
    cw_epochs epochs;
    cw_asking asking;
    atomic_bool on;
    uint64_t current_at; /* the writer's: when the table was last known to be current; 0: never */
    bool cut_off;        /* the writer's: the sender does not reach the control plane */
} cw_map;

/* A map without a table, off and without epochs. */
void cw_map_init(cw_map *map);

/* Free what it holds. No thread may be reading. */
void cw_map_free(cw_map *map);

/* CW_OWNED, CW_UNKNOWN or CW_ASK, as cw_owners of program.h wants it; `map` is a cw_map. */
int cw_map_owner(void *map, cw_text bucket, cw_text value, uint32_t *cell);

/* The rest is the writer's. */

cw_table *cw_map_table(const cw_map *map);

/* Begin a table beside the one that answers. False: no memory. */
bool cw_map_begin(cw_map *map, cw_key key, uint64_t lineage, uint64_t names);

/* The table that was begun is complete up to this revision: let it answer. */
void cw_map_switch(cw_map *map, uint64_t revision);

/* Give up the table that was begun. */
void cw_map_abandon(cw_map *map);

/* Give up all tables: nothing is answered. */
void cw_map_clear(cw_map *map);

/* The table was current at this moment (of cw_now_ms). A sender that is cut off from the control
 * plane can't tell whether a name has been claimed since. */
void cw_map_current(cw_map *map, uint64_t at_ms, bool cut_off);

/* How long ago the table was known to be current; UINT32_MAX: never, or longer ago than that. */
uint32_t cw_map_lag_ms(const cw_map *map, uint64_t now_ms);

/* Milliseconds of a clock that never goes back and counts while the machine sleeps; never 0. */
uint64_t cw_now_ms(void);

#endif
