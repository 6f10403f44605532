#include "crc32.h"

#include <pthread.h>

#include "little_endian.h"

#define POLYNOMIAL UINT32_C(0xedb88320)
#define LANES 8

/* steps[k][b]: what byte b does to a checksum that k more bytes follow. */
static uint32_t steps[LANES][256];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        steps[0][byte] = crc;
    }
    for (int lane = 1; lane < LANES; lane++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = steps[lane - 1][byte];
            steps[lane][byte] = before >> 8 ^ steps[0][before & 0xff];
        }
}

uint32_t cw_crc32(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at + len;
    pthread_once(&filled, fill);
    crc = ~crc;
    for (; end - at >= LANES; at += LANES) {
        uint32_t low = crc ^ cw_u32(at), high = cw_u32(at + 4);
        crc = steps[7][low & 0xff] ^ steps[6][low >> 8 & 0xff] ^ steps[5][low >> 16 & 0xff] ^
              steps[4][low >> 24] ^ steps[3][high & 0xff] ^ steps[2][high >> 8 & 0xff] ^
              steps[1][high >> 16 & 0xff] ^ steps[0][high >> 24];
    }
    for (; at < end; at++)
        crc = crc >> 8 ^ steps[0][(crc ^ *at) & 0xff];
    return ~crc;
}
