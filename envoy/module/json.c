#include "json.h"

#include <string.h>

enum { MAX_DEPTH = 32, MAX_NUMBER = 20 };

enum kind { BAD, STRING, INTEGER, OTHER };

typedef struct {
    const char *at, *end;
} cursor;

static void blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) {
        c->at++;
    }
}

static int next_is(cursor *c, char wanted) {
    blanks(c);
    if (c->at == c->end || *c->at != wanted) {
        return 0;
    }
    c->at++;
    return 1;
}

/* A string without escapes, of visible ASCII and blanks. */
static int string(cursor *c, cw_text *text) {
    if (!next_is(c, '"')) {
        return 0;
    }
    const char *from = c->at;
    for (; c->at < c->end && *c->at != '"'; c->at++) {
        unsigned char byte = (unsigned char)*c->at;
        if (byte < 0x20 || byte > 0x7e || byte == '\\') {
            return 0;
        }
    }
    if (c->at == c->end) {
        return 0;
    }
    *text = (cw_text){from, (size_t)(c->at++ - from)};
    return 1;
}

static size_t digits(cursor *c) {
    const char *from = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        c->at++;
    }
    return (size_t)(c->at - from);
}

static enum kind number(cursor *c, cw_text *text) {
    const char *from = c->at;
    int minus = *c->at == '-';
    c->at += minus;
    const char *first = c->at;
    size_t count = digits(c);
    if (count == 0 || count > MAX_NUMBER || (count > 1 && *first == '0') || (minus && *first == '0')) {
        return BAD; /* among them -0, which is 0 in Python */
    }
    *text = (cw_text){from, (size_t)(c->at - from)};
    int fraction = c->at < c->end && *c->at == '.';
    if (fraction) {
        c->at++;
        size_t places = digits(c);
        if (places == 0 || places > MAX_NUMBER) {
            return BAD;
        }
    }
    /* An exponent is no plain number. */
    return c->at < c->end && (*c->at == 'e' || *c->at == 'E') ? BAD : fraction ? OTHER : INTEGER;
}

static enum kind scalar(cursor *c, cw_text *text) {
    static const cw_text words[] = {{"true", 4}, {"false", 5}, {"null", 4}};
    blanks(c);
    if (c->at == c->end) {
        return BAD;
    }
    if (*c->at == '"') {
        return string(c, text) ? STRING : BAD;
    }
    if (*c->at == '-' || (*c->at >= '0' && *c->at <= '9')) {
        return number(c, text);
    }
    for (size_t i = 0; i < 3; i++) {
        if ((size_t)(c->end - c->at) >= words[i].len && memcmp(c->at, words[i].ptr, words[i].len) == 0) {
            c->at += words[i].len;
            return OTHER;
        }
    }
    return BAD;
}

/* Pass over an object or an array, whose first character is next. */
static int pass_over(cursor *c) {
    char closing[MAX_DEPTH];
    int depth = 0;
    cw_text unused;
    for (;;) {
        blanks(c);
        char open = c->at < c->end ? *c->at : 0;
        int closed = 0;
        if (open == '{' || open == '[') {
            if (depth == MAX_DEPTH) {
                return 0;
            }
            closing[depth++] = open == '{' ? '}' : ']';
            c->at++;
            closed = next_is(c, closing[depth - 1]);
            depth -= closed;
        } else if (scalar(c, &unused) == BAD) {
            return 0;
        } else {
            closed = 1;
        }
        /* After a value: the ends of what it is in, then a comma, and perhaps a key. */
        while (closed && depth && next_is(c, closing[depth - 1])) {
            depth--;
        }
        if (closed && depth == 0) {
            return 1;
        }
        if (closed && !next_is(c, ',')) {
            return 0;
        }
        if (closing[depth - 1] == '}' && !(string(c, &unused) && next_is(c, ':'))) {
            return 0;
        }
    }
}

static enum kind value(cursor *c, cw_text *text) {
    blanks(c);
    if (c->at < c->end && (*c->at == '{' || *c->at == '[')) {
        return pass_over(c) ? OTHER : BAD;
    }
    return scalar(c, text);
}

static int same(cw_text one, cw_text other) {
    return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0;
}

typedef struct {
    const cw_output *keys;
    cw_text *values;
    uint64_t wanted_seen;
    uint8_t count, routing_seen;
} members;

/* Keep one member. A key that stands there twice is unclear. */
static enum cw_decoded keep(cw_run *run, members *m, cw_text key, enum kind kind, cw_text text) {
    int routing = cw_routing_key(key);
    if (routing >= 0) {
        char *decimal = cw_run_room(run, CW_DECIMAL_BYTES);
        if (m->routing_seen >> routing & 1 || decimal == NULL) {
            return CW_UNCLEAR;
        }
        m->routing_seen |= (uint8_t)(1 << routing);
        size_t len = kind == STRING ? cw_decode_base36(text, decimal) : 0;
        if (len == 0) {
            return CW_INVALID;
        }
        text = (cw_text){decimal, len};
    }
    for (uint8_t i = 0; i < m->count; i++) {
        if (!same(m->keys[i].key, key)) {
            continue;
        }
        if (m->wanted_seen >> i & 1) {
            return CW_UNCLEAR;
        }
        m->wanted_seen |= (uint64_t)1 << i;
        if (kind != OTHER) {
            m->values[i] = text;
        }
    }
    return CW_DECODED;
}

enum cw_decoded cw_decode_json(cw_run *run, cw_text json, const cw_output *keys, uint8_t count,
                               cw_text *values) {
    cursor c = {json.ptr, json.ptr + json.len};
    members m = {.keys = keys, .values = values, .count = count};
    enum cw_decoded all = CW_DECODED;
    memset(values, 0, count * sizeof *values);
    if (!next_is(&c, '{')) {
        return CW_UNCLEAR;
    }
    if (!next_is(&c, '}')) {
        do {
            cw_text key, text = {NULL, 0};
            enum kind kind = string(&c, &key) && next_is(&c, ':') ? value(&c, &text) : BAD;
            enum cw_decoded kept = kind == BAD ? CW_UNCLEAR : keep(run, &m, key, kind, text);
            if (kept == CW_UNCLEAR) {
                return kept;
            }
            /* The rest is read nevertheless: it may not be JSON at all. */
            all = kept == CW_INVALID ? kept : all;
        } while (next_is(&c, ','));
        if (!next_is(&c, '}')) {
            return CW_UNCLEAR;
        }
    }
    blanks(&c);
    return c.at == c.end ? all : CW_UNCLEAR;
}
