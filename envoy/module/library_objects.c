/* Objects for Python (control_plane/edge_module/library.py), which knows no C structures. This file
 * is no part of the module that Envoy loads. */
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "stream.h"

cw_map *cw_library_map_new(void);
void cw_library_map_free(cw_map *map);
bool cw_library_epochs(cw_map *map, const char *text, size_t len);
void cw_library_turn(cw_map *map, bool on);
int cw_library_owner(
    cw_map *map, const char *bucket, size_t bucket_len, const char *value, size_t value_len,
    uint32_t *cell
);
void cw_library_asking(cw_map *map, uint32_t per_second);
size_t cw_library_answer(
    cw_map *map, const uint8_t *program, size_t program_len, const char *path, size_t path_len,
    char answer[CW_ANSWER_BYTES]
);
cw_stream *cw_library_stream_new(cw_map *map, const uint8_t key[16]);
void cw_library_stream_free(cw_stream *stream);
void cw_library_table(const cw_map *map, uint64_t facts[5]);
cw_table *cw_library_table_new(uint64_t names);
void cw_library_table_free(cw_table *table);
uint32_t cw_library_table_get(cw_table *table, uint64_t hash);

cw_map *cw_library_map_new(void)
{
    cw_map *map = malloc(sizeof(*map));
    if (map != NULL)
        cw_map_init(map);
    return map;
}

void cw_library_map_free(cw_map *map)
{
    cw_map_free(map);
    free(map);
}

bool cw_library_epochs(cw_map *map, const char *text, size_t len)
{
    return cw_epochs_set(&map->epochs, text, len);
}

void cw_library_turn(cw_map *map, bool on)
{
    atomic_store(&map->on, on);
}

int cw_library_owner(
    cw_map *map, const char *bucket, size_t bucket_len, const char *value, size_t value_len,
    uint32_t *cell
)
{
    return cw_map_owner(map, (cw_text){bucket, bucket_len}, (cw_text){value, value_len}, cell);
}

void cw_library_asking(cw_map *map, uint32_t per_second)
{
    cw_asking_set(&map->asking, per_second);
}

static size_t only_path(void *ctx, cw_text name, cw_text *first)
{
    bool found = name.len == 5 && memcmp(name.ptr, ":path", 5) == 0;
    if (found)
        *first = *(cw_text *)ctx;
    return found;
}

/* The answer to a request that has a path and nothing else. */
size_t cw_library_answer(
    cw_map *map, const uint8_t *program, size_t program_len, const char *path, size_t path_len,
    char answer[CW_ANSWER_BYTES]
)
{
    char error[160];
    cw_outcome outcome = {0};
    cw_text wanted = {path, path_len};
    cw_request request = {&wanted, only_path};
    cw_program *loaded = cw_program_load(program, program_len, error, sizeof(error));
    if (loaded == NULL)
        return 0;
    size_t len = cw_answer(loaded, &request, map, answer, CW_ANSWER_BYTES, &outcome);
    cw_program_free(loaded);
    return len;
}

cw_stream *cw_library_stream_new(cw_map *map, const uint8_t key[16])
{
    cw_stream *stream = calloc(1, sizeof(*stream));
    if (stream != NULL)
        cw_stream_begin(stream, map, cw_key_of(key));
    return stream;
}

void cw_library_stream_free(cw_stream *stream)
{
    cw_stream_end(stream);
    free(stream);
}

/* Lineage, revision, names, bytes, and whether another table is being built. */
void cw_library_table(const cw_map *map, uint64_t facts[5])
{
    const cw_table *table = cw_map_table(map);
    facts[0] = table != NULL ? table->lineage : 0;
    facts[1] = table != NULL ? atomic_load(&table->revision) : 0;
    facts[2] = table != NULL ? cw_table_names(table) : 0;
    facts[3] = table != NULL ? cw_table_bytes(table) : 0;
    facts[4] = map->building != NULL;
}

/* A table for itself, whose garbage is freed with it. */
cw_table *cw_library_table_new(uint64_t names)
{
    cw_garbage *garbage = calloc(1, sizeof(*garbage));
    cw_table *table = garbage != NULL ? cw_table_new((cw_key){0}, 1, names, garbage) : NULL;
    if (table == NULL)
        free(garbage);
    return table;
}

void cw_library_table_free(cw_table *table)
{
    cw_garbage *garbage = table->garbage;
    cw_table_free(table);
    cw_sweep(garbage);
    free(garbage);
}

uint32_t cw_library_table_get(cw_table *table, uint64_t hash)
{
    cw_reader *reader = cw_reader_mine();
    return reader != NULL ? cw_table_get(table, reader, hash) : CW_ASK_CELL;
}
