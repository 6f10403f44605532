#include "stream.h"

#include <string.h>

#include "little_endian.h"

#define KEY_ID_TEXT "cellway key id"
#define FORMAT 1
#define FOLLOW 1
#define STATUS 2
#define MESSAGE 48
#define NODE_MAX 256
#define COPIED_PER_FRAME 4096 /* buckets, at each frame while a table grows */
#define NAMES_MAX UINT64_C(200000000) /* 2.5 GB */

void cw_stream_begin(cw_stream *stream, cw_map *map, cw_key key)
{
    stream->map = map;
    stream->key = key;
    stream->key_id = cw_siphash13(key, KEY_ID_TEXT, strlen(KEY_ID_TEXT));
    stream->frames_seen = 0;
    stream->completed = false;
    cw_frames_reset(&stream->frames);
}

void cw_stream_end(cw_stream *stream)
{
    if (stream->map != NULL)
        cw_map_abandon(stream->map);
    cw_frames_reset(&stream->frames);
}

/* The table that can be followed: the one that answers, if its fingerprints are of our key. */
static cw_table *followed(const cw_stream *stream)
{
    cw_table *table = cw_map_table(stream->map);
    bool is_ours = table != NULL && table->key.k0 == stream->key.k0 && table->key.k1 == stream->key.k1;
    return is_ours ? table : NULL;
}

static uint64_t revision_of(const cw_table *table)
{
    return atomic_load_explicit(&table->revision, memory_order_relaxed);
}

static bool take_records(cw_table *table, const cw_frame *frame)
{
    const uint8_t *end = frame->body + frame->body_len;
    for (const uint8_t *record = frame->body; record < end; record += CW_RECORD)
        if (!cw_table_set(table, cw_u64(record), cw_u32(record + 8)))
            return false;
    return cw_table_grow(table, COPIED_PER_FRAME);
}

static cw_odd on_begin(cw_stream *stream, const cw_frame *frame)
{
    if (cw_u64(frame->body) != stream->key_id)
        return CW_ODD_KEY;
    uint64_t names = cw_u64(frame->body + 8);
    if (frame->table == 0)
        return CW_ODD_TABLE;
    if (names > NAMES_MAX)
        return CW_ODD_LENGTH;
    cw_table *table = followed(stream);
    if (table != NULL && table->lineage == frame->table && frame->revision < revision_of(table))
        return CW_ODD_REVISION;
    stream->begun_revision = frame->revision;
    return cw_map_begin(stream->map, stream->key, frame->table, names) ? CW_GOOD : CW_ODD_MEMORY;
}

static cw_odd on_base(cw_stream *stream, const cw_frame *frame)
{
    cw_table *table = stream->map->building;
    if (table == NULL)
        return CW_ODD_ORDER;
    if (table->lineage != frame->table)
        return CW_ODD_TABLE;
    if (frame->revision != stream->begun_revision)
        return CW_ODD_REVISION;
    if (!take_records(table, frame))
        return CW_ODD_MEMORY;
    if (frame->flags & CW_LAST_BASE) {
        cw_map_switch(stream->map, frame->revision);
        stream->completed = true;
    }
    return CW_GOOD;
}

/* CHANGES and BEAT follow a complete table; while one is built, BEAT keeps the connection alive. */
static cw_odd on_news(cw_stream *stream, const cw_frame *frame)
{
    cw_table *table = followed(stream);
    if (stream->map->building != NULL)
        return frame->kind == CW_BEAT ? CW_GOOD : CW_ODD_ORDER;
    if (table == NULL)
        return CW_ODD_ORDER;
    if (table->lineage != frame->table)
        return CW_ODD_TABLE;
    if (frame->revision < revision_of(table))
        return CW_ODD_REVISION;
    if (!take_records(table, frame))
        return CW_ODD_MEMORY;
    atomic_store_explicit(&table->revision, frame->revision, memory_order_release);
    if (frame->kind == CW_BEAT) {
        uint64_t at = stream->now_ms > frame->age_ms ? stream->now_ms - frame->age_ms : 1;
        cw_map_current(stream->map, at, frame->flags & CW_CUT_OFF);
    }
    return CW_GOOD;
}

static cw_odd on_frame(void *ctx, const cw_frame *frame)
{
    cw_stream *stream = ctx;
    stream->frames_seen++;
    switch (frame->kind) {
    case CW_BEGIN:
        return on_begin(stream, frame);
    case CW_BASE:
        return on_base(stream, frame);
    default:
        return on_news(stream, frame);
    }
}

cw_odd cw_stream_feed(cw_stream *stream, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
    stream->now_ms = now_ms;
    return cw_frames_feed(&stream->frames, bytes, len, on_frame, stream);
}

static size_t write_message(
    const cw_stream *stream, uint8_t kind, const char *node, uint8_t out[CW_MESSAGE_MAX]
)
{
    size_t node_len = strnlen(node, NODE_MAX), len = MESSAGE + node_len;
    const cw_table *table = followed(stream);
    memset(out, 0, CW_GRPC_HEADER + MESSAGE);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
    uint8_t *message = out + CW_GRPC_HEADER;
    message[0] = kind;
    message[1] = FORMAT;
    if (table != NULL) {
        cw_put_u64(message + 8, revision_of(table));
        cw_put_u64(message + 16, table->lineage);
        cw_put_u64(message + 24, cw_table_names(table));
    }
    cw_put_u64(message + 40, stream->key_id);
    memcpy(message + MESSAGE, node, node_len);
    return CW_GRPC_HEADER + len;
}

size_t cw_stream_follow(const cw_stream *stream, const char *node, uint8_t out[CW_MESSAGE_MAX])
{
    return write_message(stream, FOLLOW, node, out);
}

size_t cw_stream_status(
    cw_stream *stream, const char *node, uint64_t now_ms, uint8_t out[CW_MESSAGE_MAX]
)
{
    size_t len = write_message(stream, STATUS, node, out);
    cw_put_u32(out + CW_GRPC_HEADER + 4, cw_stream_source(stream));
    cw_put_u32(out + CW_GRPC_HEADER + 32, cw_map_lag_ms(stream->map, now_ms));
    stream->completed = false;
    return len;
}

uint32_t cw_stream_source(const cw_stream *stream)
{
    return stream->map->cut_off ? CW_FROM_DISK : CW_FROM_CONTROL_PLANE;
}
