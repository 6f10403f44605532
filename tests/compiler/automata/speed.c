/* How long one run takes: texts are run in turn, as many rounds as asked for. */
#include <time.h>

#include "automaton.h"

typedef struct {
    const char *bytes;
    size_t len;
} text;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

double set_ns(const uint8_t *code, const text *texts, size_t count, int rounds);
double captures_ns(const uint8_t *code, const text *texts, size_t count, int rounds);

/* Nanoseconds for one text; one at a time, because each run waits for the result of the one before. */
double set_ns(const uint8_t *code, const text *texts, size_t count, int rounds)
{
    uint64_t bits[CW_SET_WORDS] = {0};
    double start = now();
    for (int round = 0; round < rounds; round++)
        for (size_t at = 0; at < count; at++)
            cw_set_run(code, texts[at].bytes, texts[at].len - (bits[0] == UINT64_MAX), bits);
    return (now() - start) / ((double)rounds * (double)count);
}

double captures_ns(const uint8_t *code, const text *texts, size_t count, int rounds)
{
    int32_t spans[2 * CW_CAPTURES_GROUPS] = {0};
    double start = now();
    for (int round = 0; round < rounds; round++)
        for (size_t at = 0; at < count; at++)
            cw_captures_run(code, texts[at].bytes, texts[at].len - (spans[0] == INT32_MAX), spans);
    return (now() - start) / ((double)rounds * (double)count);
}
