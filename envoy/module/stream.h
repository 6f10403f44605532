/* One connection to the owners' stream, as a state machine without input and output.
 *
 *     we send     FOLLOW: what we have
 *     it sends    BEGIN BASE … BASE(last)     a table, which replaces ours when it is complete
 *                 CHANGES, BEAT               what has changed, and how current that is
 *     we send     STATUS: what we have now
 *
 * If ours is the table that it has, it begins at once with CHANGES or BEAT. It may BEGIN anew at any
 * time. Anything that doesn't fit ends the connection; the table stays as it is, and the next
 * connection goes on from its revision.
 */
#ifndef CW_STREAM_H
#define CW_STREAM_H

#include "frames.h"
#include "map.h"

#define CW_MESSAGE_MAX (CW_GRPC_HEADER + 48 + 256)

typedef struct {
    cw_map *map;
    cw_key key;
    uint64_t key_id;
    uint64_t begun_revision;
    uint64_t frames_seen;
    bool completed; /* a table became complete, and no STATUS has said so */
    uint64_t now_ms;
    cw_frames frames;
} cw_stream;

/* Begin a connection for a map, with the key of its fingerprints. */
void cw_stream_begin(cw_stream *stream, cw_map *map, cw_key key);

/* Take bytes that arrived at this moment. */
cw_odd cw_stream_feed(cw_stream *stream, const uint8_t *bytes, size_t len, uint64_t now_ms);

/* The connection has ended. */
void cw_stream_end(cw_stream *stream);

/* Write the first message, or a later one, with gRPC's header. Return its length. */
size_t cw_stream_follow(const cw_stream *stream, const char *node, uint8_t out[CW_MESSAGE_MAX]);
size_t cw_stream_status(
    cw_stream *stream, const char *node, uint64_t now_ms, uint8_t out[CW_MESSAGE_MAX]
);

/* What a STATUS says about where the table comes from. */
enum { CW_FROM_CONTROL_PLANE = 1, CW_FROM_AGENT = 2, CW_FROM_DISK = 3 };
uint32_t cw_stream_source(const cw_stream *stream);

#endif
