/* A program as cw_program_load reads it. */
#ifndef CW_PROGRAM_PARTS_H
#define CW_PROGRAM_PARTS_H

#include "automaton.h"
#include "cell_table.h"
#include "program.h"

/* control_plane/compiler/programs/limits.py has the same limits. */
enum {
    CW_MAX_TEXTS = 64,         /* parts of a request that rules look at */
    CW_MAX_BIT_WORDS = 256,    /* for the patterns of all texts, 64 to a word */
    CW_MAX_COOKIES = 64,       /* different cookie matches */
    CW_MAX_COOKIE_WORDS = 2,   /* for the patterns of cookies' names, and of their values */
    CW_MAX_MATCHES = 64,       /* of one rule */
    CW_MAX_SLOTS = 64,         /* values of one rule */
    CW_MAX_TEXT_BYTES = 16384, /* a longer text is not plain */
    CW_MAX_AUTHORITY = 1024,
    CW_MAX_KEY = 1024, /* MAX_KEY_CHARS of the evaluator: a longer claim is left out */
    CW_SCRATCH = 32768 /* for all that is decoded */
};
#define CW_NONE 0xFFFFu
#define CW_NO_SLOT 0xFFu

typedef struct {
    const uint8_t *bytes;
    uint8_t captures; /* else it is a set */
    uint8_t words;    /* of a set's result */
    uint8_t groups;   /* of captures */
} cw_automaton;

enum cw_text_kind { CW_PATH, CW_QUERY, CW_HOST, CW_METHOD, CW_HEADER };

/* A part of a request. All patterns that are looked for in it are one set. */
typedef struct {
    uint8_t kind;
    cw_text name; /* of the header */
    uint16_t set; /* CW_NONE: only its presence matters */
    uint16_t first_word;
} cw_text_part;

enum cw_probe_kind { CW_PROBE_TEXT, CW_PROBE_COOKIE, CW_PROBE_OPAQUE };

/* One match of a rule, without its inversion. */
typedef struct {
    uint8_t kind;
    uint16_t pattern;      /* in the set of the texts, or of cookie values; CW_NONE: any value */
    uint16_t name_pattern; /* in the set of cookie names */
    uint16_t cookie;       /* which of the cookie matches it is */
    uint16_t texts;        /* how many */
    uint16_t *text;        /* the headers to look at, in order; one text otherwise */
} cw_probe;

typedef struct {
    uint16_t probe;
    uint8_t invert;
} cw_match;

enum cw_reading { CW_READ_RAW, CW_READ_URL, CW_READ_QUERY };

/* Where the groups of a regex go. */
typedef struct {
    uint16_t captures;
    uint8_t groups;
    uint8_t *slot; /* by group; CW_NO_SLOT: not needed */
} cw_groups;

typedef struct {
    uint8_t match;   /* whose text it is, by its place in the rule */
    uint8_t of_name; /* the cookie's name instead of its value */
    uint8_t reading;
    cw_groups groups;
} cw_capture;

typedef struct {
    uint8_t slot; /* CW_NO_SLOT: `text` */
    cw_text text;
} cw_part;

typedef struct {
    uint8_t parts;
    cw_part *part;
} cw_template;

enum cw_transform_kind { CW_ROUTABLE_PAYLOAD, CW_ROUTABLE_JSON, CW_BASE64_MATCH };

typedef struct {
    cw_text key;
    uint8_t slot;
} cw_output;

typedef struct {
    uint8_t kind;
    cw_template input;
    uint8_t outputs;
    cw_output *output;
    cw_groups groups; /* of CW_BASE64_MATCH */
} cw_transform;

typedef struct {
    cw_text name;
    uint8_t form;
} cw_bucket;

typedef struct {
    uint16_t bucket;
    cw_template value;
} cw_claim;

enum cw_action { CW_CLAIMS, CW_SESSION_PREFIX, CW_CELL_ID, CW_FIXED, CW_OPAQUE_ACTION };

typedef struct {
    uint8_t same; /* matches, captures and transforms are those of the rule before */
    uint8_t matches, captures, transforms, required, claims, slots;
    uint8_t action;
    /* Whether these outcomes are answers; else the next rule is asked. */
    uint8_t on_unknown, on_down, on_invalid, on_fixed;
    uint8_t too_many;     /* cells to answer with, so it answers with none */
    uint8_t down_spreads; /* a cell that is down is no answer, but the rule has one */
    cw_match *match;
    cw_capture *capture;
    cw_transform *transform;
    uint8_t *required_slot;
    cw_claim *claim;
    cw_template key;
} cw_rule;

/* A pattern that must occur in one text for a rule to match. Most rules are passed by this alone, so
 * that these are kept together. */
typedef struct {
    uint16_t text; /* CW_NONE: there is no such pattern */
    uint16_t pattern;
} cw_need;

struct cw_program {
    uint8_t *bytes;
    void *blocks; /* what is freed with the program */
    uint16_t automata, texts, probes, buckets, rules;
    uint16_t cookies, cookie_names, cookie_values; /* the sets of the latter two */
    cw_automaton *automaton;
    cw_text_part *text;
    cw_probe *probe;
    cw_probe **cookie;
    cw_bucket *bucket;
    cw_rule *rule;
    cw_need *need; /* of each rule */
    cw_cell_table cells;
};

#endif
