/* Runs a program for many requests in one call, with a table of owners that a test fills. */
#include <stdlib.h>
#include <string.h>

#include "program.h"

typedef struct {
    cw_text bucket, value;
    uint8_t kind;
    uint32_t cell;
} owner;

typedef struct {
    uint8_t *bytes;
    owner *place;
    uint32_t mask;
} table;

typedef struct {
    const uint8_t *headers;
    uint16_t count;
} request;

typedef struct {
    char answer[CW_ANSWER_BYTES];
    uint8_t len;
    uint8_t unused;
    uint16_t rule, why;
} result;

static uint32_t u32_at(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static uint16_t u16_at(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, 2);
    return value;
}

static uint32_t hash(cw_text bucket, cw_text value) {
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < bucket.len; i++) sum = (sum ^ (uint8_t)bucket.ptr[i]) * 16777619u;
    for (size_t i = 0; i < value.len; i++) sum = (sum ^ (uint8_t)value.ptr[i]) * 16777619u;
    return sum;
}

static int same(cw_text one, cw_text other) {
    return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0;
}

static owner *find(const table *t, cw_text bucket, cw_text value) {
    uint32_t at = hash(bucket, value) & t->mask;
    while (t->place[at].kind && !(same(t->place[at].bucket, bucket) && same(t->place[at].value, value))) {
        at = (at + 1) & t->mask;
    }
    return &t->place[at];
}

/* Entries: u8 kind, u32 cell, u16 and the bucket, u16 and the value. */
table *host_owners(const uint8_t *bytes, size_t len, uint32_t entries) {
    table *t = calloc(1, sizeof *t);
    t->bytes = malloc(len + 1);
    memcpy(t->bytes, bytes, len);
    for (t->mask = 8; t->mask < 2 * entries; t->mask *= 2) {}
    t->place = calloc(t->mask--, sizeof(owner));
    const uint8_t *at = t->bytes;
    while (entries--) {
        cw_text bucket = {(const char *)at + 7, u16_at(at + 5)};
        const uint8_t *next = at + 7 + bucket.len;
        cw_text value = {(const char *)next + 2, u16_at(next)};
        *find(t, bucket, value) = (owner){bucket, value, at[0], u32_at(at + 1)};
        at = next + 2 + value.len;
    }
    return t;
}

void host_owners_free(table *t) {
    free(t->place);
    free(t->bytes);
    free(t);
}

static int ask(void *ctx, cw_text bucket, cw_text value, uint32_t *cell) {
    const owner *found = find(ctx, bucket, value);
    *cell = found->cell;
    return found->kind ? found->kind : CW_UNKNOWN;
}

static size_t header(void *ctx, cw_text name, cw_text *first) {
    const request *r = ctx;
    const uint8_t *at = r->headers;
    size_t found = 0;
    for (uint16_t i = 0; i < r->count; i++) {
        cw_text its = {(const char *)at + 4, u16_at(at)};
        cw_text value = {its.ptr + its.len, u16_at(at + 2)};
        if (same(its, name) && found++ == 0) *first = value;
        at += 4 + its.len + value.len;
    }
    return found;
}

/* Requests: u16 headers, each u16 and u16 lengths, name and value. */
void host_decide(const cw_program *program, const table *owners, const uint8_t *requests, uint32_t count,
                 result *results) {
    cw_owners ask_owners = {(void *)owners, ask};
    for (uint32_t i = 0; i < count; i++) {
        request r = {requests + 2, u16_at(requests)};
        cw_request asked = {&r, header};
        cw_outcome outcome;
        size_t len = cw_decide(program, &asked, &ask_owners, results[i].answer, CW_ANSWER_BYTES, &outcome);
        results[i].len = (uint8_t)len;
        results[i].rule = outcome.rule;
        results[i].why = outcome.why;
        requests += 2;
        for (uint16_t k = 0; k < r.count; k++) {
            requests += 4 + u16_at(requests) + u16_at(requests + 2);
        }
    }
}
