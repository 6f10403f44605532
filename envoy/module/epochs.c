#include "epochs.h"

#include <string.h>

#include "crc32.h"

void cw_epochs_off(cw_epochs *epochs)
{
    for (unsigned shard = 0; shard < CW_SHARDS; shard++)
        atomic_store(&epochs->least[shard], CW_ALL_VOID);
}

/* Read a decimal number. False: there is none, or it is too large. */
static bool number(const char **at, const char *end, uint64_t *value)
{
    const char *start = *at;
    for (*value = 0; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        unsigned digit = (unsigned)(**at - '0');
        if (*value > (UINT64_MAX - 1 - digit) / 10)
            return false;
        *value = *value * 10 + digit;
    }
    return *at > start;
}

static bool skip(const char **at, const char *end, char wanted)
{
    bool there = *at < end && **at == wanted;
    *at += there;
    return there;
}

static bool read_epochs(const char *at, const char *end, uint64_t least[CW_SHARDS])
{
    uint64_t floor, shard, revision;
    if (!number(&at, end, &floor) || !skip(&at, end, ';'))
        return false;
    for (unsigned one = 0; one < CW_SHARDS; one++)
        least[one] = floor;
    while (at < end) {
        if (!number(&at, end, &shard) || shard >= CW_SHARDS || !skip(&at, end, ':') ||
            !number(&at, end, &revision))
            return false;
        if (revision > least[shard])
            least[shard] = revision;
        if (at < end && (!skip(&at, end, ',') || at == end))
            return false;
    }
    return true;
}

bool cw_epochs_set(cw_epochs *epochs, const char *text, size_t len)
{
    uint64_t least[CW_SHARDS];
    if (len == 3 && memcmp(text, "off", 3) == 0) {
        cw_epochs_off(epochs);
        return true;
    }
    if (!read_epochs(text, text + len, least))
        return false;
    for (unsigned shard = 0; shard < CW_SHARDS; shard++)
        atomic_store(&epochs->least[shard], least[shard]);
    return true;
}

unsigned cw_shard(const char *bucket, size_t bucket_len, const char *value, size_t value_len)
{
    uint32_t crc = cw_crc32(0, bucket, bucket_len);
    crc = cw_crc32(crc, ":", 1);
    return cw_crc32(crc, value, value_len) % CW_SHARDS;
}
