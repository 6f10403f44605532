/* Bytes of the owners' stream, texts of epochs and of settings: whatever they are, for sanitizers.
 *
 * The first byte of an input says what it is and in which pieces it comes. Checksums of frames are
 * mended in half of the inputs, so that more than the checksum is tried. libFuzzer calls
 * LLVMFuzzerTestOneInput. Without it (-DFUZZ_MAIN), `fuzz SEED ROUNDS FILE…` changes the inputs in
 * the files by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "little_endian.h"
#include "settings.h"
#include "stream.h"

#define LARGEST 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const cw_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

/* Give each frame the checksum that it should have, as far as lengths lead from one to the next. */
static void mend(uint8_t *bytes, size_t len)
{
    for (size_t at = 0; len - at > CW_GRPC_HEADER + CW_FRAME_HEADER;) {
        uint8_t *frame = bytes + at + CW_GRPC_HEADER;
        size_t size = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
        if (size < CW_FRAME_HEADER || size > len - at - CW_GRPC_HEADER)
            return;
        if (frame[0] == CW_BEGIN && size >= CW_FRAME_HEADER + 16)
            memset(frame + CW_FRAME_HEADER + 10, 0, 6); /* huge tables take seconds */
        uint32_t crc = cw_crc32(0, frame, CW_FRAME_HEADER - 4);
        crc = cw_crc32(crc, frame + CW_FRAME_HEADER, size - CW_FRAME_HEADER);
        cw_put_u32(frame + CW_FRAME_HEADER - 4, crc);
        at += CW_GRPC_HEADER + size;
    }
}

static void follow(uint8_t how, uint8_t *bytes, size_t len)
{
    static const size_t pieces[] = {1, 7, 37, LARGEST};
    size_t piece = pieces[how & 3];
    cw_map *map = malloc(sizeof(*map));
    cw_stream *stream = calloc(1, sizeof(*stream));
    uint8_t message[CW_MESSAGE_MAX];
    uint32_t cell;
    if (map == NULL || stream == NULL)
        abort();
    cw_map_init(map);
    atomic_store(&map->on, true);
    cw_epochs_set(&map->epochs, "0;", 2);
    cw_stream_begin(stream, map, key);
    if (how & 4)
        mend(bytes, len);
    for (size_t at = 0; at < len; at += piece) {
        size_t some = len - at < piece ? len - at : piece;
        if (cw_stream_feed(stream, bytes + at, some, cw_now_ms()) != CW_GOOD) {
            cw_stream_end(stream);
            cw_stream_begin(stream, map, key);
        }
        cw_map_owner(map, (cw_text){"tenant", 6}, (cw_text){"acme", 4}, &cell);
    }
    cw_stream_follow(stream, "edge-1", message);
    cw_stream_status(stream, "", cw_now_ms(), message);
    cw_stream_end(stream);
    cw_map_free(map);
    free(stream);
    free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > LARGEST)
        return 0;
    /* Of exactly this length, so that a sanitizer sees a byte too many. */
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        abort();
    memcpy(bytes, data + 1, size - 1);
    bytes = realloc(bytes, size > 1 ? size - 1 : 1);
    cw_epochs epochs;
    cw_settings settings;
    cw_epochs_off(&epochs);
    if ((data[0] & 0x30) == 0x10)
        cw_epochs_set(&epochs, (const char *)bytes, size - 1);
    else if ((data[0] & 0x30) == 0x20)
        cw_settings_read((const char *)bytes, size - 1, &settings);
    else
        follow(data[0], bytes, size - 1);
    free(bytes);
    return 0;
}

#ifdef FUZZ_MAIN
static uint32_t state;

static uint32_t any(void)
{
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

static size_t read_file(const char *path, uint8_t *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        exit(2);
    size_t size = fread(out, 1, LARGEST, file);
    fclose(file);
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[LARGEST];
    state = (uint32_t)atoi(argv[1]);
    for (int round = atoi(argv[2]); round > 0 && argc > 3; round--) {
        size_t size = read_file(argv[3 + any() % (unsigned)(argc - 3)], bytes);
        for (unsigned changes = any() % 8; changes > 0 && size > 0; changes--)
            bytes[any() % size] = (uint8_t)(any() & 1 ? any() : any() % 4);
        LLVMFuzzerTestOneInput(bytes, any() % 4 ? size : any() % (unsigned)(size + 1));
    }
    return 0;
}
#endif
