/* Reads a program: a sequence of counts and entries, little-endian, without offsets.
 *
 * The reader keeps its first failure and gives zeros from there on, so that it is asked once at the
 * end. Each index is compared with the count of what it points into before it is kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "normalise.h"
#include "program_parts.h"

#define MAGIC 0x31505743u /* "CWP1" */

typedef struct {
    const uint8_t *at;
    size_t left;
    const char *failure;
    cw_program *program;
} reader;

typedef struct block {
    struct block *next;
} block;

static void fail(reader *r, const char *why) {
    if (r->failure == NULL) {
        r->failure = why;
    }
    r->left = 0;
}

static const uint8_t *take(reader *r, size_t bytes) {
    if (bytes > r->left) {
        fail(r, "it ends too soon");
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += bytes;
    r->left -= bytes;
    return at;
}

static uint64_t number(reader *r, size_t bytes) {
    const uint8_t *at = take(r, bytes);
    uint64_t value = 0;
    for (size_t i = 0; at != NULL && i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint8_t u8(reader *r) { return (uint8_t)number(r, 1); }
static uint16_t u16(reader *r) { return (uint16_t)number(r, 2); }
static uint32_t u32(reader *r) { return (uint32_t)number(r, 4); }

static uint16_t below(reader *r, uint32_t value, uint32_t limit, const char *what) {
    if (value >= limit) {
        fail(r, what);
        return 0;
    }
    return (uint16_t)value;
}

/* Like `below`, but `none` is taken, too. */
static uint16_t below_or(reader *r, uint32_t value, uint32_t none, uint32_t limit, const char *what) {
    return value == none ? (uint16_t)none : below(r, value, limit, what);
}

static cw_text text(reader *r) {
    size_t len = u16(r);
    const uint8_t *at = take(r, len);
    return (cw_text){(const char *)at, at == NULL ? 0 : len};
}

/* Zeroed memory for `count` things, freed with the program. A thing takes at least a byte of the
 * program to describe, so the memory is bounded by the program's length. */
static void *room(reader *r, size_t count, size_t size) {
    size_t bytes = count * size;
    if (r->failure != NULL || count > r->left + 64) {
        fail(r, "it counts more than it holds");
        return NULL;
    }
    block *made = calloc(1, sizeof(block) + (bytes ? bytes : 1) + 8);
    if (made == NULL) {
        fail(r, "there is no memory for it");
        return NULL;
    }
    made->next = r->program->blocks;
    r->program->blocks = made;
    return made + 1;
}

#define ROOM(r, field, count) ((field) = room((r), (count), sizeof *(field)))

static void read_automata(reader *r) {
    cw_program *p = r->program;
    p->automata = u16(r);
    ROOM(r, p->automaton, p->automata);
    for (uint16_t i = 0; r->failure == NULL && i < p->automata; i++) {
        cw_automaton *one = &p->automaton[i];
        one->captures = u8(r);
        uint32_t len = u32(r);
        one->bytes = take(r, len);
        if (r->failure != NULL) {
            return;
        }
        if (!(one->captures ? cw_captures_check(one->bytes, len) : cw_set_check(one->bytes, len))) {
            fail(r, "it has a malformed automaton");
            return;
        }
        one->groups = one->captures ? (uint8_t)cw_captures_groups(one->bytes) : 0;
        one->words = one->captures ? 0 : (uint8_t)cw_set_words(one->bytes);
    }
}

/* Return the index of a set with at most so many words of patterns. */
static uint16_t set_index(reader *r, uint32_t words) {
    const cw_program *p = r->program;
    uint16_t set = below_or(r, u16(r), CW_NONE, p->automata, "it names an automaton that is not there");
    if (r->failure == NULL && set != CW_NONE &&
        (p->automaton[set].captures || p->automaton[set].words > words)) {
        fail(r, "it has a set of too many patterns");
    }
    return set;
}

static uint32_t words_of(const reader *r, uint16_t set) {
    return set == CW_NONE || r->failure != NULL ? 0 : r->program->automaton[set].words;
}

static void read_texts(reader *r) {
    cw_program *p = r->program;
    uint32_t words = 0;
    p->cookie_names = set_index(r, CW_MAX_COOKIE_WORDS);
    p->cookie_values = set_index(r, CW_MAX_COOKIE_WORDS);
    p->texts = below(r, u16(r), CW_MAX_TEXTS + 1, "it looks at too many headers");
    ROOM(r, p->text, p->texts);
    for (uint16_t i = 0; r->failure == NULL && i < p->texts; i++) {
        cw_text_part *one = &p->text[i];
        one->kind = (uint8_t)below(r, u8(r), CW_HEADER + 1, "it looks at an unknown part");
        one->name = text(r);
        one->set = set_index(r, CW_MAX_BIT_WORDS);
        one->first_word = (uint16_t)words;
        words += words_of(r, one->set);
        if (words > CW_MAX_BIT_WORDS) {
            fail(r, "it has too many patterns");
        }
    }
}

static uint16_t pattern_of(reader *r, uint16_t set, uint16_t pattern) {
    return below_or(r, pattern, CW_NONE, 64 * words_of(r, set), "it names a pattern that is not there");
}

static void read_text_probe(reader *r, cw_probe *one) {
    const cw_program *p = r->program;
    one->pattern = u16(r);
    one->texts = u8(r);
    ROOM(r, one->text, one->texts);
    for (uint16_t i = 0; r->failure == NULL && i < one->texts; i++) {
        one->text[i] = below(r, u16(r), p->texts, "it names a part that is not there");
        if (r->failure == NULL) {
            pattern_of(r, p->text[one->text[i]].set, one->pattern);
        }
    }
}

static void read_probes(reader *r) {
    cw_program *p = r->program;
    p->cookies = below(r, u16(r), CW_MAX_COOKIES + 1, "it looks at too many cookies");
    p->probes = below(r, u16(r), CW_NONE, "it has too many matches");
    ROOM(r, p->cookie, p->cookies);
    ROOM(r, p->probe, p->probes);
    uint16_t cookies = 0;
    for (uint16_t i = 0; r->failure == NULL && i < p->probes; i++) {
        cw_probe *one = &p->probe[i];
        one->kind = (uint8_t)below(r, u8(r), CW_PROBE_OPAQUE + 1, "it has an unknown match");
        if (one->kind == CW_PROBE_TEXT) {
            read_text_probe(r, one);
        } else if (one->kind == CW_PROBE_COOKIE) {
            one->name_pattern = below(r, pattern_of(r, p->cookie_names, u16(r)), CW_NONE,
                                      "it has a cookie without a name");
            one->pattern = pattern_of(r, p->cookie_values, u16(r));
            one->cookie = below(r, cookies++, p->cookies, "it counts too few cookies");
            if (r->failure == NULL) {
                p->cookie[one->cookie] = one;
            }
        }
    }
    if (cookies != p->cookies) {
        fail(r, "it counts too many cookies");
    }
}

static void read_buckets(reader *r) {
    cw_program *p = r->program;
    p->buckets = u16(r);
    ROOM(r, p->bucket, p->buckets);
    for (uint16_t i = 0; r->failure == NULL && i < p->buckets; i++) {
        p->bucket[i].name = text(r);
        p->bucket[i].form = (uint8_t)below(r, u8(r), CW_FORMS, "it has an unknown normal form");
    }
}

static uint8_t slot_of(reader *r, const cw_rule *rule) {
    return (uint8_t)below(r, u8(r), rule->slots, "it names a value that is not there");
}

static void read_groups(reader *r, const cw_rule *rule, cw_groups *groups) {
    const cw_program *p = r->program;
    groups->captures = below(r, u16(r), p->automata, "it names an automaton that is not there");
    if (r->failure != NULL || !p->automaton[groups->captures].captures) {
        fail(r, "it has captures without groups");
        return;
    }
    groups->groups = p->automaton[groups->captures].groups;
    ROOM(r, groups->slot, groups->groups);
    for (uint8_t i = 0; r->failure == NULL && i < groups->groups; i++) {
        groups->slot[i] = (uint8_t)below_or(r, u8(r), CW_NO_SLOT, rule->slots,
                                            "it names a value that is not there");
    }
}

static void read_template(reader *r, const cw_rule *rule, cw_template *made) {
    made->parts = u8(r);
    ROOM(r, made->part, made->parts);
    for (uint8_t i = 0; r->failure == NULL && i < made->parts; i++) {
        cw_part *part = &made->part[i];
        part->slot = (uint8_t)below_or(r, u8(r), CW_NO_SLOT, rule->slots,
                                       "it names a value that is not there");
        part->text = part->slot == CW_NO_SLOT ? text(r) : (cw_text){NULL, 0};
    }
}

static void read_matches(reader *r, cw_rule *rule) {
    rule->matches = (uint8_t)below(r, u8(r), CW_MAX_MATCHES + 1, "a rule has too many matches");
    ROOM(r, rule->match, rule->matches);
    for (uint8_t i = 0; r->failure == NULL && i < rule->matches; i++) {
        rule->match[i].probe = below(r, u16(r), r->program->probes, "it names a match that is not there");
        rule->match[i].invert = u8(r);
    }
    rule->captures = u8(r);
    ROOM(r, rule->capture, rule->captures);
    for (uint8_t i = 0; r->failure == NULL && i < rule->captures; i++) {
        cw_capture *one = &rule->capture[i];
        one->match = (uint8_t)below(r, u8(r), rule->matches, "it captures from no match");
        one->of_name = u8(r);
        one->reading = (uint8_t)below(r, u8(r), CW_READ_QUERY + 1, "it has an unknown reading");
        read_groups(r, rule, &one->groups);
        if (r->failure == NULL) {
            const cw_match *from = &rule->match[one->match];
            int cookie = r->program->probe[from->probe].kind == CW_PROBE_COOKIE;
            if (from->invert || (one->of_name && !cookie)) {
                fail(r, "it captures what is not there");
            }
        }
    }
}

static void read_transforms(reader *r, cw_rule *rule) {
    rule->transforms = u8(r);
    ROOM(r, rule->transform, rule->transforms);
    for (uint8_t i = 0; r->failure == NULL && i < rule->transforms; i++) {
        cw_transform *one = &rule->transform[i];
        one->kind = (uint8_t)below(r, u8(r), CW_BASE64_MATCH + 1, "it has an unknown transform");
        read_template(r, rule, &one->input);
        if (one->kind == CW_BASE64_MATCH) {
            read_groups(r, rule, &one->groups);
            continue;
        }
        one->outputs = (uint8_t)below(r, u8(r), CW_MAX_SLOTS + 1, "it decodes too many values");
        ROOM(r, one->output, one->outputs);
        for (uint8_t k = 0; r->failure == NULL && k < one->outputs; k++) {
            one->output[k].key = text(r);
            one->output[k].slot = slot_of(r, rule);
        }
    }
    rule->required = u8(r);
    ROOM(r, rule->required_slot, rule->required);
    for (uint8_t i = 0; r->failure == NULL && i < rule->required; i++) {
        rule->required_slot[i] = slot_of(r, rule);
    }
}

static void read_action(reader *r, cw_rule *rule) {
    rule->action = (uint8_t)below(r, u8(r), CW_OPAQUE_ACTION + 1, "it has an unknown action");
    if (rule->action == CW_SESSION_PREFIX || rule->action == CW_CELL_ID) {
        read_template(r, rule, &rule->key);
    }
    if (rule->action != CW_CLAIMS) {
        return;
    }
    rule->claims = u8(r);
    ROOM(r, rule->claim, rule->claims);
    for (uint8_t i = 0; r->failure == NULL && i < rule->claims; i++) {
        rule->claim[i].bucket = below(r, u16(r), r->program->buckets, "it names an unknown bucket");
        read_template(r, rule, &rule->claim[i].value);
    }
}

/* The first pattern that a rule needs in one text. */
static cw_need need_of(const cw_program *p, const cw_rule *rule) {
    for (uint8_t i = 0; i < rule->matches; i++) {
        const cw_probe *probe = &p->probe[rule->match[i].probe];
        if (!rule->match[i].invert && probe->kind == CW_PROBE_TEXT && probe->texts == 1 &&
            probe->pattern != CW_NONE) {
            return (cw_need){probe->text[0], probe->pattern};
        }
    }
    return (cw_need){CW_NONE, 0};
}

static void read_rules(reader *r) {
    cw_program *p = r->program;
    p->rules = below(r, u16(r), CW_NONE, "it has too many rules");
    ROOM(r, p->rule, p->rules);
    ROOM(r, p->need, p->rules);
    for (uint16_t i = 0; r->failure == NULL && i < p->rules; i++) {
        cw_rule *rule = &p->rule[i];
        rule->same = u8(r);
        rule->slots = (uint8_t)below(r, u8(r), CW_MAX_SLOTS + 1, "a rule has too many values");
        read_matches(r, rule);
        read_transforms(r, rule);
        read_action(r, rule);
        if (r->failure == NULL && rule->same && (i == 0 || rule->slots != rule[-1].slots)) {
            fail(r, "a rule is like one that is not there");
        }
        if (r->failure == NULL) {
            /* A rule with the matches of the one before is passed whenever that one is. */
            p->need[i] = rule->same ? p->need[i - 1] : need_of(p, rule);
        }
    }
}

/* A count of things that take a byte at least. */
static uint32_t some(reader *r) {
    uint32_t count = u32(r);
    if (count > r->left) {
        fail(r, "it counts more than it holds");
        return 0;
    }
    return count;
}

static void read_cells(reader *r) {
    cw_program *p = r->program;
    cw_cell_table *table = &p->cells;
    table->cells = some(r);
    ROOM(r, table->cell, table->cells);
    for (uint32_t i = 0; r->failure == NULL && i < table->cells; i++) {
        table->cell[i].id = number(r, 8);
        table->cell[i].serving = u8(r);
    }
    table->prefixes = some(r);
    ROOM(r, table->prefix, table->prefixes);
    for (uint32_t i = 0; r->failure == NULL && i < table->prefixes; i++) {
        table->prefix[i].cell = u32(r);
        table->prefix[i].prefix = text(r);
        if (table->prefix[i].cell >= table->cells) {
            fail(r, "it has the prefix of a cell that is not there");
        }
    }
    for (uint16_t i = 0; r->failure == NULL && i < p->rules; i++) {
        uint8_t answers = u8(r);
        p->rule[i].too_many = answers & 1;
        p->rule[i].on_unknown = answers >> 1 & 1;
        p->rule[i].on_down = answers >> 2 & 1;
        p->rule[i].on_invalid = answers >> 3 & 1;
        p->rule[i].on_fixed = answers >> 4 & 1;
        p->rule[i].down_spreads = answers >> 5 & 1;
    }
    if (r->failure == NULL && r->left != 0) {
        fail(r, "something follows its end");
    }
}

static void index_cells(reader *r) {
    if (r->failure != NULL) {
        return;
    }
    cw_cell_table *table = &r->program->cells;
    uint32_t ids = cw_table_places(table->cells), prefixes = cw_table_places(table->prefixes);
    table->id_mask = ids - 1;
    table->prefix_mask = prefixes - 1;
    r->left = (size_t)ids + prefixes; /* all that they hold was counted before */
    ROOM(r, table->by_id, ids);
    ROOM(r, table->by_prefix, prefixes);
    if (r->failure == NULL) {
        cw_cell_table_fill(table);
    }
}

void cw_program_free(cw_program *program) {
    if (program == NULL) {
        return;
    }
    for (block *one = program->blocks; one != NULL;) {
        block *next = one->next;
        free(one);
        one = next;
    }
    free(program->bytes);
    free(program);
}

cw_program *cw_program_load(const uint8_t *bytes, size_t len, char *error, size_t error_size) {
    cw_program *program = calloc(1, sizeof *program);
    reader r = {.left = len, .program = program};
    if (program != NULL) {
        program->bytes = malloc(len ? len : 1);
    }
    if (program == NULL || program->bytes == NULL) {
        fail(&r, "there is no memory for it");
    } else {
        if (len > 0) {
            memcpy(program->bytes, bytes, len);
        }
        r.at = program->bytes;
        if (u32(&r) != MAGIC) {
            fail(&r, "it is no program of this version");
        }
        read_automata(&r);
        read_texts(&r);
        read_probes(&r);
        read_buckets(&r);
        read_rules(&r);
        read_cells(&r);
        index_cells(&r);
    }
    if (r.failure == NULL) {
        return program;
    }
    if (error_size > 0) {
        snprintf(error, error_size, "%s", r.failure);
    }
    cw_program_free(program);
    return NULL;
}
