/* What cw_decide knows of one request so far: the parts of it, each fetched when first looked at, what
 * their patterns are, and room for what is decoded. It lies on the stack. */
#ifndef CW_RUN_H
#define CW_RUN_H

#include "program_parts.h"

/* Whether something holds. */
typedef enum { CW_NO, CW_YES, CW_UNSURE } cw_truth;

enum cw_state { CW_UNSEEN, CW_ABSENT, CW_PLAIN, CW_ODD };

typedef struct {
    uint8_t truth;
    cw_text name, value;
} cw_found_cookie;

typedef struct {
    const cw_program *program;
    const cw_request *request;
    size_t used; /* of `scratch` */
    size_t kept; /* of it, for longer than one rule */
    cw_text target, authority;
    uint8_t target_state, authority_state;
    uint8_t cookies_seen;
    uint8_t state[CW_MAX_TEXTS];
    cw_text text[CW_MAX_TEXTS];
    cw_found_cookie cookie[CW_MAX_COOKIES];
    uint64_t bits[CW_MAX_BIT_WORDS];
    char scratch[CW_SCRATCH];
} cw_run;

/* Room for so many bytes until the next rule that matches by itself; NULL if there is none left. */
char *cw_run_room(cw_run *run, size_t bytes);

/* Whether all bytes are below 0x80. */
int cw_is_ascii(cw_text text);

#endif
