/* A program decides a request as the evaluator (control_plane/routing/evaluate.py) would, or not at
 * all. control_plane/compiler/programs/ makes it from a ruleset and the cells.
 *
 * The rules are walked in their order, and each gives one of three answers:
 *
 *     certainly not       the next rule is asked
 *     certainly this      the answer is written, for example "19:7": rule 19, cell 7
 *     not certain         nothing is written, and the routes behind the program decide
 *
 * A program is immutable after its load, so threads share it. cw_decide allocates nothing, takes no
 * lock and calls nothing recursively. Its work is bounded by the request's length and the ruleset.
 */
#ifndef CW_PROGRAM_H
#define CW_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *ptr;
    size_t len;
} cw_text;

typedef struct cw_program cw_program;

/* Read a program, of which it keeps a copy. NULL if it is malformed or memory is short; then `error`
 * says why: "it ends too soon". Every index and every length is checked here, so that cw_decide needs no checks. */
cw_program *cw_program_load(const uint8_t *bytes, size_t len, char *error, size_t error_size);
void cw_program_free(cw_program *program);

/* The request's headers, with ":path", ":authority" and ":method" among them. `header` gives the first
 * value and returns how many there are. */
typedef struct {
    void *ctx;
    size_t (*header)(void *ctx, cw_text lower_case_name, cw_text *first_value);
} cw_request;

enum { CW_OWNED = 1, CW_UNKNOWN = 2, CW_ASK = 3 };

/* Who owns a claim: CW_OWNED and the cell's id; CW_UNKNOWN, nobody for certain; CW_ASK, not certain. */
typedef struct {
    void *ctx;
    int (*owner)(void *ctx, cw_text bucket, cw_text normalised_value, uint32_t *cell_id);
} cw_owners;

enum {
    CW_WHY_KEY = 1,       /* answered: a key leads to a cell */
    CW_WHY_UNKNOWN = 2,   /* answered: nobody has the key */
    CW_WHY_INVALID = 3,   /* answered: a token does not decode */
    CW_WHY_FIXED = 4,     /* answered: the rule gives every request the same */
    CW_WHY_NOT_PLAIN = 5, /* not certain: something in the request is not plain */
    CW_WHY_ASKED = 6,     /* not certain: the table of owners is not */
    CW_WHY_OPAQUE = 7,    /* not certain: a program can't express the rule */
    CW_WHY_ANSWERS = 8,   /* not certain: the rule would have too many answers */
    CW_WHY_NO_CELL = 9,   /* not certain: the program does not know the owner's cell */
    CW_WHY_NO_RULE = 10,  /* no rule matches, which the routes behind the program answer */
};

/* Which rule answered or was not certain, and why. */
typedef struct {
    uint16_t rule;
    uint16_t why;
} cw_outcome;

/* The longest answer, with room for its end. */
enum { CW_ANSWER_BYTES = 32 };

/* Write the answer to `out`, which has room for CW_ANSWER_BYTES. Return its length, or 0. */
size_t cw_decide(const cw_program *program, const cw_request *request, const cw_owners *owners,
                 char *out, size_t out_size, cw_outcome *outcome);

#endif
