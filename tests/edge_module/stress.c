/* Readers on many threads, one writer: is an answer ever torn, late or another name's?
 *
 *     stress <seconds> <readers>
 *
 * NAMES names always have an owner. Revision r gives name r % NAMES the cell 1 + r / NAMES, so a
 * cell tells which revision it is of. A reader notes the table's complete revision, looks a name up,
 * and notes what the writer has begun since: the answer must lie between the two. Before the writer
 * gives a name to a cell, it raises the epoch of the name's shard, as xDS may do before the stream
 * brings the change: from then on, the older owner must not be told. Meanwhile other names come and
 * go, so that the slots grow and fill with dead words; now and then a whole new table is built and
 * takes over; and threads end and begin.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "map.h"

#define NAMES 512
#define CROWD 20000
#define STEPS_PER_THREAD 20000
#define CELLS 60000

static cw_map map;
static const cw_key key = {1, 2};
static _Atomic uint64_t begun, looked_up, owned, tables;
static _Atomic uint64_t void_below[NAMES]; /* by name: a revision that its epoch has reached */
static atomic_bool over;

static cw_text named(char *out, const char *kind, uint64_t number)
{
    int len = snprintf(out, 32, "%s%llu", kind, (unsigned long long)number);
    return (cw_text){out, (size_t)len};
}

static uint64_t hash_of(cw_text name)
{
    cw_siphash hash;
    cw_siphash_begin(&hash, key);
    cw_siphash_add(&hash, "t", 2); /* with the 0 behind it */
    cw_siphash_add(&hash, name.ptr, name.len);
    return cw_siphash_end(&hash);
}

static uint64_t random_of(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fail(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    fprintf(stderr, "%s: %llu %llu %llu\n", what, (unsigned long long)a, (unsigned long long)b,
            (unsigned long long)c);
    _Exit(1);
}

/* The newest revision up to `revision` that gave this name an owner. */
static uint64_t given(uint64_t revision, uint64_t name)
{
    return (revision - name) / NAMES;
}

static void look_up(uint64_t *state)
{
    char out[32];
    uint32_t cell = 0;
    uint64_t name = random_of(state) % NAMES;
    cw_reader *reader = cw_reader_mine();
    cw_table *table = cw_pin(reader, 0, &map.live);
    uint64_t complete = atomic_load(&table->revision), voided = atomic_load(&void_below[name]);
    cw_unpin(reader, 0);
    int said = cw_map_owner(&map, (cw_text){"t", 1}, named(out, "n", name), &cell);
    uint64_t latest = atomic_load(&begun);
    if (said == CW_UNKNOWN)
        fail("a name has no owner", name, (uint64_t)said, complete);
    if (said == CW_OWNED && cell < 1 + voided / NAMES)
        fail("an owner that is void", cell, voided, complete);
    atomic_fetch_add(&owned, said == CW_OWNED);
    if (said == CW_OWNED && (cell < 1 + given(complete, name) || cell > 1 + given(latest, name)))
        fail("a cell of another revision", cell, complete, latest);
    said = cw_map_owner(&map, (cw_text){"t", 1}, named(out, "nobody", random_of(state)), &cell);
    if (said == CW_OWNED)
        fail("a name of nobody has an owner", cell, 0, 0);
    said = cw_map_owner(&map, (cw_text){"t", 1}, named(out, "c", random_of(state) % CROWD), &cell);
    if (said == CW_OWNED && cell != CELLS + 1)
        fail("a name has the owner of another", cell, 0, 0);
}

static void *read_some(void *seed)
{
    uint64_t state = (uint64_t)seed * 7919 + 1;
    for (int step = 0; step < STEPS_PER_THREAD && !atomic_load(&over); step++)
        look_up(&state);
    atomic_fetch_add(&looked_up, STEPS_PER_THREAD);
    return NULL;
}

static void *keep_reading(void *seed)
{
    for (uint64_t round = 0; !atomic_load(&over); round++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, read_some, (void *)((uint64_t)seed * 1000 + round)) != 0)
            abort();
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void set(cw_table *table, const char *kind, uint64_t number, uint32_t cell)
{
    char out[32];
    if (!cw_table_set(table, hash_of(named(out, kind, number)), cell))
        fail("no place", number, cell, 0);
}

/* Replace the table by one that has the same names, and was made for far fewer. */
static void rebuild(uint64_t revision)
{
    if (!cw_map_begin(&map, key, revision + 1, 10))
        abort();
    for (uint64_t name = 0; name < NAMES; name++)
        set(map.building, "n", name, (uint32_t)(1 + given(revision, name)));
    cw_map_switch(&map, revision);
    cw_map_current(&map, cw_now_ms(), false);
    atomic_fetch_add(&tables, 1);
}

/* Nobody may be told the owner that revision `revision` changes any more. */
static void raise_epoch(uint64_t revision)
{
    char out[32];
    cw_text name = named(out, "n", revision % NAMES);
    atomic_store(&map.epochs.least[cw_shard("t", 1, name.ptr, name.len)], revision);
    atomic_store(&void_below[revision % NAMES], revision);
}

static uint64_t write_on(double seconds)
{
    uint64_t revision = NAMES, state = 99, end = cw_now_ms() + (uint64_t)(seconds * 1000);
    while (cw_now_ms() < end && revision / NAMES < CELLS - 2) {
        cw_table *table = cw_map_table(&map);
        atomic_store(&begun, ++revision);
        raise_epoch(revision);
        set(table, "n", revision % NAMES, (uint32_t)(1 + revision / NAMES));
        atomic_store(&table->revision, revision);
        set(table, "c", random_of(&state) % CROWD, revision / 50000 % 3 == 2 ? CW_NOBODY : CELLS + 1);
        if (revision % 20000 == 0)
            rebuild(revision);
        if (revision % 1000 == 0)
            cw_sweep(&map.garbage);
    }
    return revision;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    int readers = argc > 2 ? atoi(argv[2]) : 16;
    pthread_t *threads = calloc((size_t)readers, sizeof(*threads));
    cw_map_init(&map);
    atomic_store(&map.on, true);
    cw_epochs_set(&map.epochs, "0;", 2);
    atomic_store(&begun, NAMES);
    rebuild(NAMES);
    for (int at = 0; at < readers; at++)
        pthread_create(&threads[at], NULL, keep_reading, (void *)(uint64_t)(at + 1));
    uint64_t revisions = write_on(seconds);
    atomic_store(&over, true);
    for (int at = 0; at < readers; at++)
        pthread_join(threads[at], NULL);
    free(threads);
    bool left = cw_sweep(&map.garbage);
    cw_map_free(&map);
    printf("%llu changes, %llu tables, %llu look-ups, %llu owners told, garbage left: %d\n",
           (unsigned long long)(2 * revisions), (unsigned long long)tables,
           (unsigned long long)looked_up, (unsigned long long)owned, left);
    return left || owned == 0;
}
