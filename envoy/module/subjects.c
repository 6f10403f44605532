#include "subjects.h"

#include <string.h>


#define TEXT(literal) ((cw_text){literal, sizeof(literal) - 1})

void cw_run_begin(cw_run *run, const cw_program *program, const cw_request *request) {
    run->program = program;
    run->request = request;
    run->used = run->kept = 0;
    run->target_state = run->authority_state = CW_UNSEEN;
    run->cookies_seen = 0;
    memset(run->state, CW_UNSEEN, program->texts);
}

char *cw_run_room(cw_run *run, size_t bytes) {
    if (bytes > CW_SCRATCH - run->used) {
        return NULL;
    }
    char *at = run->scratch + run->used;
    run->used += bytes;
    return at;
}

int cw_is_ascii(cw_text text) {
    uint64_t all = 0;
    size_t at = 0;
    for (; at + 8 <= text.len; at += 8) {
        uint64_t word;
        memcpy(&word, text.ptr + at, 8);
        all |= word;
    }
    for (; at < text.len; at++) {
        all |= (unsigned char)text.ptr[at];
    }
    return (all & 0x8080808080808080u) == 0;
}

/* Fetch a header. Several values, and long ones, are odd. */
static uint8_t fetch(const cw_run *run, cw_text name, cw_text *value) {
    *value = (cw_text){"", 0};
    size_t values = run->request->header(run->request->ctx, name, value);
    if (values == 0) {
        return CW_ABSENT;
    }
    if (value->len == 0) {
        value->ptr = "";
    }
    return values == 1 && value->len <= CW_MAX_TEXT_BYTES ? CW_PLAIN : CW_ODD;
}

/* The path or the query: what stands before or after the first "?" of the target. */
static uint8_t fetch_target(cw_run *run, int query, cw_text *text) {
    if (run->target_state == CW_UNSEEN) {
        run->target_state = fetch(run, TEXT(":path"), &run->target);
    }
    if (run->target_state != CW_PLAIN) {
        return CW_ODD;
    }
    cw_text target = run->target;
    const char *mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
    size_t path = mark == NULL ? target.len : (size_t)(mark - target.ptr);
    if (!query) {
        *text = (cw_text){target.ptr, path};
    } else if (mark == NULL) {
        *text = (cw_text){"", 0};
    } else {
        *text = (cw_text){mark + 1, target.len - path - 1};
    }
    return CW_PLAIN;
}

/* The host of the authority: lower-case, without port and without a trailing dot. */
static uint8_t fetch_host(cw_run *run, cw_text *text) {
    cw_text host;
    uint8_t state = fetch(run, TEXT(":authority"), &host);
    char *out = cw_run_room(run, CW_MAX_AUTHORITY);
    run->kept = run->used; /* other rules look at the host, too */
    if (state != CW_PLAIN || host.len > CW_MAX_AUTHORITY || out == NULL) {
        return CW_ODD;
    }
    size_t len = host.len, at = len;
    if (len && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', len);
        if (end == NULL) {
            return CW_ODD;
        }
        len = (size_t)(end - host.ptr) + 1;
    } else {
        while (at && host.ptr[at - 1] >= '0' && host.ptr[at - 1] <= '9') {
            at--;
        }
        if (at && at < len && host.ptr[at - 1] == ':') {
            len = at - 1;
        }
    }
    for (at = 0; at < len; at++) {
        char c = host.ptr[at];
        out[at] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    if (len && out[len - 1] == '.') {
        len--;
    }
    *text = (cw_text){out, len};
    return CW_PLAIN;
}

/* Fetch a part of the request, and find which of its patterns occur in it. */
static uint8_t see(cw_run *run, uint16_t index) {
    const cw_text_part *part = &run->program->text[index];
    cw_text *text = &run->text[index];
    uint8_t state;
    switch (part->kind) {
    case CW_PATH:
    case CW_QUERY:
        state = fetch_target(run, part->kind == CW_QUERY, text);
        break;
    case CW_HOST:
        state = fetch_host(run, text);
        break;
    case CW_METHOD:
        state = fetch(run, TEXT(":method"), text);
        break;
    default:
        state = fetch(run, part->name, text);
    }
    if (state == CW_ABSENT && (part->kind != CW_HEADER || (part->name.len && part->name.ptr[0] == ':'))) {
        state = CW_ODD; /* each request has these */
    }
    if (state == CW_PLAIN && !cw_is_ascii(*text)) {
        state = CW_ODD;
    }
    if (state == CW_PLAIN && part->set != CW_NONE) {
        const cw_automaton *set = &run->program->automaton[part->set];
        cw_set_run(set->bytes, text->ptr, text->len, run->bits + part->first_word);
    }
    run->state[index] = state;
    return state;
}

static int has_bit(const uint64_t *bits, uint16_t index) { return bits[index / 64] >> (index % 64) & 1; }

int cw_lacks(cw_run *run, cw_need need) {
    uint8_t state = run->state[need.text];
    if (state == CW_UNSEEN) {
        state = see(run, need.text);
    }
    const uint64_t *bits = run->bits + run->program->text[need.text].first_word;
    return state == CW_ABSENT || (state == CW_PLAIN && !has_bit(bits, need.pattern));
}

static cw_truth text_holds(cw_run *run, const cw_probe *probe, cw_text *value) {
    for (uint16_t i = 0; i < probe->texts; i++) {
        uint16_t index = probe->text[i];
        uint8_t state = run->state[index];
        if (state == CW_UNSEEN) {
            state = see(run, index);
        }
        if (state == CW_ODD) {
            return CW_UNSURE;
        }
        if (state == CW_PLAIN &&
            (probe->pattern == CW_NONE ||
             has_bit(run->bits + run->program->text[index].first_word, probe->pattern))) {
            *value = run->text[index];
            return CW_YES;
        }
    }
    return CW_NO;
}

static cw_text trim(const char *from, const char *to) {
    while (from < to && (*from == ' ' || *from == '\t')) {
        from++;
    }
    while (from < to && (to[-1] == ' ' || to[-1] == '\t')) {
        to--;
    }
    return (cw_text){from, (size_t)(to - from)};
}

/* Find which patterns of a set occur in a text; -1 if it is not ASCII. */
static int occurring(const cw_program *program, uint16_t set, cw_text text, uint64_t *bits) {
    if (!cw_is_ascii(text)) {
        return -1;
    }
    if (set != CW_NONE) {
        cw_set_run(program->automaton[set].bytes, text.ptr, text.len, bits);
    }
    return 0;
}

/* Compare one cookie with those matches that no cookie before it has settled. */
static void see_cookie(cw_run *run, cw_text name, cw_text value) {
    const cw_program *program = run->program;
    uint64_t names[CW_MAX_COOKIE_WORDS], values[CW_MAX_COOKIE_WORDS];
    int odd_name = occurring(program, program->cookie_names, name, names);
    int odd_value = 1; /* not known yet */
    for (uint16_t i = 0; i < program->cookies; i++) {
        cw_found_cookie *found = &run->cookie[i];
        const cw_probe *probe = program->cookie[i];
        if (found->truth != CW_NO || (!odd_name && !has_bit(names, probe->name_pattern))) {
            continue;
        }
        if (probe->pattern != CW_NONE && odd_value > 0) {
            odd_value = occurring(program, program->cookie_values, value, values);
        }
        if (odd_name || (probe->pattern != CW_NONE && odd_value)) {
            found->truth = CW_UNSURE;
        } else if (probe->pattern == CW_NONE || has_bit(values, probe->pattern)) {
            *found = (cw_found_cookie){CW_YES, name, value};
        }
    }
}

static void see_cookies(cw_run *run) {
    cw_text header;
    uint8_t state = fetch(run, TEXT("cookie"), &header);
    run->cookies_seen = 1;
    for (uint16_t i = 0; i < run->program->cookies; i++) {
        run->cookie[i].truth = state == CW_ODD ? CW_UNSURE : CW_NO;
    }
    const char *at = header.ptr, *end = header.ptr + header.len;
    while (state == CW_PLAIN && at < end) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        if (equals != NULL) {
            see_cookie(run, trim(at, equals), trim(equals + 1, stop));
        }
        at = stop + 1;
    }
}

cw_truth cw_probe_holds(cw_run *run, const cw_probe *probe, cw_text *value, cw_text *name) {
    if (probe->kind == CW_PROBE_TEXT) {
        return text_holds(run, probe, value);
    }
    if (probe->kind == CW_PROBE_OPAQUE) {
        return CW_UNSURE;
    }
    if (!run->cookies_seen) {
        see_cookies(run);
    }
    const cw_found_cookie *found = &run->cookie[probe->cookie];
    *value = found->value;
    *name = found->name;
    return (cw_truth)found->truth;
}
