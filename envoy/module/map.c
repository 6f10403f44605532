#include "map.h"

#include <time.h>

#include "stats.h"

#define TABLE_PIN 0

void cw_map_init(cw_map *map)
{
    *map = (cw_map){0};
    cw_epochs_off(&map->epochs);
}

void cw_map_free(cw_map *map)
{
    cw_map_clear(map);
    cw_sweep(&map->garbage);
}

uint64_t cw_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

static uint64_t hash_of(cw_key key, cw_text bucket, cw_text value)
{
    cw_siphash hash;
    cw_siphash_begin(&hash, key);
    cw_siphash_add(&hash, bucket.ptr, bucket.len);
    cw_siphash_add(&hash, "", 1);
    cw_siphash_add(&hash, value.ptr, value.len);
    return cw_siphash_end(&hash);
}

static int ask(cw_reader *reader, unsigned why)
{
    cw_count(reader, why);
    return CW_ASK;
}

/* What the table vouches for is read before the name is looked up, and the epoch after it. So what
 * was found is at least as new as that, and not void at the moment of the last step. */
static int look_up(
    const cw_map *map, cw_table *table, cw_reader *reader, cw_text bucket, cw_text value, uint32_t *cell
)
{
    uint64_t revision = atomic_load_explicit(&table->revision, memory_order_acquire);
    uint64_t recent_until = atomic_load_explicit(&table->recent_until, memory_order_acquire);
    *cell = cw_table_get(table, reader, hash_of(table->key, bucket, value));
    unsigned shard = cw_shard(bucket.ptr, bucket.len, value.ptr, value.len);
    if (revision < atomic_load_explicit(&map->epochs.least[shard], memory_order_acquire))
        return ask(reader, CW_ASKED_VOID);
    if (*cell == CW_ASK_CELL)
        return ask(reader, CW_ASKED_MARKED);
    if (*cell != CW_NOBODY)
        return CW_OWNED;
    return cw_now_ms() <= recent_until ? CW_UNKNOWN : ask(reader, CW_ASKED_LATE);
}

int cw_map_owner(void *ctx, cw_text bucket, cw_text value, uint32_t *cell)
{
    cw_map *map = ctx;
    cw_reader *reader = cw_reader_mine();
    if (reader == NULL)
        return CW_ASK;
    if (!atomic_load_explicit(&map->on, memory_order_acquire))
        return ask(reader, CW_ASKED_OFF);
    cw_table *table = cw_pin(reader, TABLE_PIN, &map->live);
    int answer = table == NULL ? ask(reader, CW_ASKED_EMPTY)
                               : look_up(map, table, reader, bucket, value, cell);
    cw_unpin(reader, TABLE_PIN);
    return answer;
}

cw_table *cw_map_table(const cw_map *map)
{
    return atomic_load_explicit(&map->live, memory_order_relaxed);
}

bool cw_map_begin(cw_map *map, cw_key key, uint64_t lineage, uint64_t names)
{
    cw_map_abandon(map);
    map->building = cw_table_new(key, lineage, names, &map->garbage);
    return map->building != NULL;
}

void cw_map_switch(cw_map *map, uint64_t revision)
{
    cw_table *before = cw_map_table(map);
    atomic_store(&map->building->revision, revision);
    map->current_at = 0;
    atomic_store(&map->live, map->building);
    map->building = NULL;
    cw_discard(&map->garbage, before, cw_table_free);
}

void cw_map_abandon(cw_map *map)
{
    cw_table_free(map->building);
    map->building = NULL;
}

void cw_map_clear(cw_map *map)
{
    cw_map_abandon(map);
    cw_table *before = cw_map_table(map);
    map->current_at = 0;
    atomic_store(&map->live, NULL);
    cw_discard(&map->garbage, before, cw_table_free);
}

void cw_map_current(cw_map *map, uint64_t at_ms, bool cut_off)
{
    cw_table *table = cw_map_table(map);
    map->cut_off = cut_off;
    map->current_at = at_ms;
    if (table != NULL)
        atomic_store_explicit(
            &table->recent_until, cut_off ? 0 : at_ms + CW_RECENT_MS, memory_order_release
        );
}

uint32_t cw_map_lag_ms(const cw_map *map, uint64_t now_ms)
{
    uint64_t at = map->current_at;
    if (at == 0 || now_ms >= at + UINT32_MAX)
        return UINT32_MAX;
    return now_ms > at ? (uint32_t)(now_ms - at) : 0;
}
