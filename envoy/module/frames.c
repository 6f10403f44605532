#include "frames.h"

#include <string.h>

#include "crc32.h"
#include "little_endian.h"

#define FORMAT 1
#define BEGIN_BODY 16
#define CHECKSUM_AT 28

void cw_frames_reset(cw_frames *frames)
{
    frames->held = 0;
}

/* How many bytes the message has that begins here, with gRPC's header; 0: not known yet. */
static cw_odd message_length(const uint8_t *bytes, size_t len, size_t *length)
{
    *length = 0;
    if (len >= 1 && bytes[0] != 0)
        return CW_ODD_COMPRESSED;
    if (len < CW_GRPC_HEADER)
        return CW_GOOD;
    size_t message = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
    if (message < CW_FRAME_HEADER || message > CW_FRAME_MAX)
        return CW_ODD_LENGTH;
    *length = CW_GRPC_HEADER + message;
    return CW_GOOD;
}

static cw_odd body_length(const cw_frame *frame, size_t *length)
{
    switch (frame->kind) {
    case CW_BEGIN:
        *length = BEGIN_BODY;
        return frame->count == 0 ? CW_GOOD : CW_ODD_LENGTH;
    case CW_BASE:
    case CW_CHANGES:
        *length = (size_t)frame->count * CW_RECORD;
        return frame->count <= CW_RECORDS_MAX ? CW_GOOD : CW_ODD_LENGTH;
    case CW_BEAT:
        *length = 0;
        return frame->count == 0 ? CW_GOOD : CW_ODD_LENGTH;
    default:
        return CW_ODD_KIND;
    }
}

static cw_odd read_frame(const uint8_t *bytes, size_t len, cw_frame *frame)
{
    uint32_t crc = cw_crc32(0, bytes, CHECKSUM_AT);
    crc = cw_crc32(crc, bytes + CW_FRAME_HEADER, len - CW_FRAME_HEADER);
    if (crc != cw_u32(bytes + CHECKSUM_AT))
        return CW_ODD_CHECKSUM;
    if (bytes[1] != FORMAT)
        return CW_ODD_KIND;
    *frame = (cw_frame){
        .kind = bytes[0],
        .flags = cw_u16(bytes + 2),
        .count = cw_u32(bytes + 4),
        .revision = cw_u64(bytes + 8),
        .table = cw_u64(bytes + 16),
        .age_ms = cw_u32(bytes + 24),
        .body = bytes + CW_FRAME_HEADER,
        .body_len = len - CW_FRAME_HEADER,
    };
    size_t expected;
    cw_odd odd = body_length(frame, &expected);
    if (odd == CW_GOOD && expected != frame->body_len)
        odd = CW_ODD_LENGTH;
    return odd;
}

static cw_odd hand_on(const uint8_t *message, size_t len, cw_frame_handler handler, void *ctx)
{
    cw_frame frame;
    cw_odd odd = read_frame(message + CW_GRPC_HEADER, len - CW_GRPC_HEADER, &frame);
    return odd == CW_GOOD ? handler(ctx, &frame) : odd;
}

/* Take bytes until the held message is known to be complete, or they end. */
static cw_odd hold(cw_frames *frames, const uint8_t **at, const uint8_t *end, size_t *length)
{
    cw_odd odd = message_length(frames->bytes, frames->held, length);
    while (odd == CW_GOOD && *at < end && (*length == 0 || frames->held < *length)) {
        size_t wanted = *length == 0 ? 1 : *length - frames->held;
        size_t some = (size_t)(end - *at) < wanted ? (size_t)(end - *at) : wanted;
        memcpy(frames->bytes + frames->held, *at, some);
        frames->held += some;
        *at += some;
        odd = message_length(frames->bytes, frames->held, length);
    }
    return odd;
}

cw_odd cw_frames_feed(
    cw_frames *frames, const uint8_t *bytes, size_t len, cw_frame_handler handler, void *ctx
)
{
    const uint8_t *at = bytes, *end = bytes + len;
    while (at < end) {
        size_t length;
        cw_odd odd;
        if (frames->held == 0) { /* read the message where it is, if it is there as a whole */
            odd = message_length(at, (size_t)(end - at), &length);
            if (odd == CW_GOOD && length != 0 && length <= (size_t)(end - at)) {
                odd = hand_on(at, length, handler, ctx);
                at += length;
                if (odd != CW_GOOD)
                    return odd;
                continue;
            }
        }
        odd = hold(frames, &at, end, &length);
        if (odd == CW_GOOD && length != 0 && frames->held == length) {
            frames->held = 0;
            odd = hand_on(frames->bytes, length, handler, ctx);
        }
        if (odd != CW_GOOD)
            return odd;
    }
    return CW_GOOD;
}
