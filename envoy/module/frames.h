/* Frames of the owners' stream, cut out of bytes that arrive in any pieces.
 *
 * The bytes are gRPC's: five bytes (not compressed; length), then the message, which is one frame:
 * a header of 32 bytes and a body. All integers are little-endian, but for gRPC's length.
 *
 *     0 kind  1 format  2 flags  4 count  8 revision  16 table  24 age in ms  28 CRC of all but it
 *
 * A frame is handed on whole and only after its checksum and its lengths were found right.
 */
#ifndef CW_FRAMES_H
#define CW_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_GRPC_HEADER 5
#define CW_FRAME_HEADER 32
#define CW_RECORD 12
#define CW_RECORDS_MAX 5000
#define CW_FRAME_MAX (CW_FRAME_HEADER + CW_RECORD * CW_RECORDS_MAX)

enum { CW_BEGIN = 1, CW_BASE = 2, CW_CHANGES = 3, CW_BEAT = 4 };
enum { CW_LAST_BASE = 1, CW_CUT_OFF = 2 };

/* What can be wrong with a stream. */
typedef enum {
    CW_GOOD,
    CW_ODD_COMPRESSED, /* a message is compressed */
    CW_ODD_LENGTH,     /* a message is too long or too short, or its count says otherwise */
    CW_ODD_CHECKSUM,
    CW_ODD_KIND,     /* an unknown kind or format */
    CW_ODD_KEY,      /* the fingerprints are of another key */
    CW_ODD_ORDER,    /* a frame where it must not be */
    CW_ODD_TABLE,    /* a frame of another table */
    CW_ODD_REVISION, /* a revision goes back */
    CW_ODD_MEMORY,   /* there is no memory for the table */
    CW_ODD_COUNT,
} cw_odd;

typedef struct {
    uint8_t kind;
    uint16_t flags;
    uint32_t count;
    uint64_t revision, table;
    uint32_t age_ms;
    const uint8_t *body;
    size_t body_len;
} cw_frame;

typedef struct {
    size_t held;
    uint8_t bytes[CW_GRPC_HEADER + CW_FRAME_MAX]; /* the beginning of a message */
} cw_frames;

typedef cw_odd (*cw_frame_handler)(void *ctx, const cw_frame *frame);

/* Forget the bytes that are held. */
void cw_frames_reset(cw_frames *frames);

/* Take bytes, and hand on each frame that they complete. After anything but CW_GOOD, what follows
 * means nothing: the stream has to end. */
cw_odd cw_frames_feed(
    cw_frames *frames, const uint8_t *bytes, size_t len, cw_frame_handler handler, void *ctx
);

#endif
