/* Walks the rules of a program; see program.h. */
#include "program.h"

#include <string.h>

#include "decode.h"
#include "json.h"
#include "normalise.h"
#include "subjects.h"

/* What a rule says. */
typedef enum {
    PASSED,   /* certainly not */
    ANSWERED, /* certainly this */
    STOPPED   /* not certain */
} verdict;

/* A value of a rule. `unclear`: there is one, but it is not known. */
typedef struct {
    cw_text text;
    uint8_t unclear;
} value;

typedef struct {
    cw_run run;
    const cw_owners *owners;
    value values[CW_MAX_SLOTS];
    verdict like_before; /* what matches and transforms said, for a rule with the same */
    uint16_t why;
    char result; /* ':' and `cell`, or '=' and the word for `why` */
    uint64_t cell;
} decision;

static verdict stop(decision *d, uint16_t why) {
    d->why = why;
    return STOPPED;
}

static verdict answer(decision *d, uint16_t why) {
    d->why = why;
    d->result = '=';
    return ANSWERED;
}

/* Answer, or ask the next rule if the policy says so. */
static verdict answer_if(decision *d, int answers, uint16_t why) {
    return answers ? answer(d, why) : PASSED;
}

static void keep(decision *d, uint8_t slot, cw_text text, int unclear) {
    d->values[slot].text = text;
    d->values[slot].unclear = (uint8_t)unclear;
}

/* Run a regex and keep what its groups capture. Returns whether it matched. */
static int capture(decision *d, const cw_groups *groups, cw_text text, uint8_t reading) {
    int32_t spans[2 * CW_CAPTURES_GROUPS];
    const cw_automaton *automaton = &d->run.program->automaton[groups->captures];
    if (cw_captures_run(automaton->bytes, text.ptr, text.len, spans) != 1) {
        return 0;
    }
    for (uint8_t i = 0; i < groups->groups; i++) {
        int32_t begin = spans[2 * i], end = spans[2 * i + 1];
        /* No regex gives an end before its begin, but a damaged automaton does. */
        if (groups->slot[i] == CW_NO_SLOT || begin < 0 || end < begin) {
            continue;
        }
        cw_text part = {text.ptr + begin, (size_t)(end - begin)};
        enum cw_decoded decoded = CW_DECODED;
        if (reading != CW_READ_RAW) {
            decoded = cw_decode_url(&d->run, part, reading == CW_READ_QUERY, &part);
        }
        keep(d, groups->slot[i], part, decoded != CW_DECODED);
    }
    return 1;
}

/* PASSED: a match fails for certain. ANSWERED: all hold, and their captures are kept. */
static verdict match(decision *d, const cw_rule *rule) {
    cw_text texts[CW_MAX_MATCHES], names[CW_MAX_MATCHES];
    int unsure = 0;
    for (uint8_t i = 0; i < rule->matches; i++) {
        const cw_match *one = &rule->match[i];
        const cw_probe *probe = &d->run.program->probe[one->probe];
        cw_truth truth = cw_probe_holds(&d->run, probe, &texts[i], &names[i]);
        if (truth == (one->invert ? CW_YES : CW_NO)) {
            return PASSED;
        }
        unsure |= truth == CW_UNSURE;
    }
    if (unsure) {
        return stop(d, CW_WHY_NOT_PLAIN);
    }
    for (uint8_t i = 0; i < rule->captures; i++) {
        const cw_capture *one = &rule->capture[i];
        cw_text text = one->of_name ? names[one->match] : texts[one->match];
        if (!capture(d, &one->groups, text, one->reading)) {
            return stop(d, CW_WHY_OPAQUE); /* never: the same regex has matched */
        }
    }
    return ANSWERED;
}

/* Fill a template in. PASSED: a value is missing. STOPPED: one is unclear. */
static verdict render(decision *d, const cw_template *template, cw_text *text) {
    size_t len = 0;
    int unclear = 0;
    for (uint8_t i = 0; i < template->parts; i++) {
        const cw_part *part = &template->part[i];
        if (part->slot == CW_NO_SLOT) {
            len += part->text.len;
            continue;
        }
        const value *given = &d->values[part->slot];
        if (!given->unclear && given->text.len == 0) {
            return PASSED;
        }
        unclear |= given->unclear;
        len += given->text.len;
    }
    if (unclear) {
        return stop(d, CW_WHY_NOT_PLAIN);
    }
    if (template->parts == 1 && template->part->slot != CW_NO_SLOT) {
        *text = d->values[template->part->slot].text;
        return ANSWERED;
    }
    char *out = cw_run_room(&d->run, len);
    if (out == NULL) {
        return stop(d, CW_WHY_NOT_PLAIN);
    }
    *text = (cw_text){out, len};
    for (uint8_t i = 0; i < template->parts; i++) {
        const cw_part *part = &template->part[i];
        cw_text more = part->slot == CW_NO_SLOT ? part->text : d->values[part->slot].text;
        if (more.len) {
            memcpy(out, more.ptr, more.len);
            out += more.len;
        }
    }
    return ANSWERED;
}

static enum cw_decoded decode_routable(decision *d, const cw_transform *one, cw_text text) {
    cw_text numbers[6];
    enum cw_decoded decoded = cw_decode_routable(&d->run, text, numbers);
    for (uint8_t i = 0; decoded == CW_DECODED && i < one->outputs; i++) {
        int key = cw_routing_key(one->output[i].key);
        if (key >= 0 && numbers[key].len) {
            keep(d, one->output[i].slot, numbers[key], 0);
        }
    }
    return decoded;
}

static enum cw_decoded decode_json(decision *d, const cw_transform *one, cw_text text) {
    cw_text values[CW_MAX_SLOTS];
    enum cw_decoded decoded = cw_decode_base64(&d->run, text, &text);
    if (decoded == CW_DECODED) {
        decoded = cw_decode_json(&d->run, text, one->output, one->outputs, values);
    }
    for (uint8_t i = 0; decoded == CW_DECODED && i < one->outputs; i++) {
        if (values[i].ptr != NULL) {
            keep(d, one->output[i].slot, values[i], 0);
        }
    }
    return decoded;
}

static enum cw_decoded decode_match(decision *d, const cw_transform *one, cw_text text) {
    enum cw_decoded decoded = cw_decode_base64(&d->run, text, &text);
    if (decoded != CW_DECODED) {
        return decoded;
    }
    if (!cw_is_ascii(text)) {
        return CW_UNCLEAR;
    }
    return capture(d, &one->groups, text, CW_READ_RAW) ? CW_DECODED : CW_INVALID;
}

static enum cw_decoded transform_one(decision *d, const cw_transform *one, cw_text text) {
    if (text.len > CW_MAX_TOKEN) {
        return CW_INVALID;
    }
    switch (one->kind) {
    case CW_ROUTABLE_PAYLOAD:
        return decode_routable(d, one, text);
    case CW_ROUTABLE_JSON:
        return decode_json(d, one, text);
    default:
        return decode_match(d, one, text);
    }
}

enum { INVALID = STOPPED + 1 };

/* Match and decode. ANSWERED: the values are there. INVALID: something does not decode. */
static verdict prepare(decision *d, const cw_rule *rule) {
    memset(d->values, 0, rule->slots * sizeof *d->values);
    d->run.used = d->run.kept;
    verdict said = match(d, rule);
    for (uint8_t i = 0; said == ANSWERED && i < rule->transforms; i++) {
        cw_text text;
        said = render(d, &rule->transform[i].input, &text);
        if (said == ANSWERED) {
            enum cw_decoded decoded = transform_one(d, &rule->transform[i], text);
            if (decoded == CW_INVALID) {
                return (verdict)INVALID;
            }
            said = decoded == CW_DECODED ? ANSWERED : stop(d, CW_WHY_NOT_PLAIN);
        }
    }
    return said;
}

static verdict to_cell(decision *d, const cw_rule *rule, const cw_cell *cell) {
    if (!cell->serving && !rule->on_down) {
        return PASSED;
    }
    if (rule->too_many || (!cell->serving && rule->down_spreads)) {
        return stop(d, CW_WHY_ANSWERS);
    }
    d->why = CW_WHY_KEY;
    d->result = ':';
    d->cell = cell->id;
    return ANSWERED;
}

/* Ask for the owners of a chain: the first that there is counts. */
static verdict claims(decision *d, const cw_rule *rule) {
    const cw_program *program = d->run.program;
    int asked = 0;
    for (uint8_t i = 0; i < rule->claims; i++) {
        char normal[CW_MAX_KEY];
        cw_text key, name = program->bucket[rule->claim[i].bucket].name;
        verdict said = render(d, &rule->claim[i].value, &key);
        if (said == STOPPED) {
            return said;
        }
        if (said == PASSED || key.len > CW_MAX_KEY) {
            continue;
        }
        asked = 1;
        size_t len = 0;
        enum cw_normal form = cw_normalise(program->bucket[rule->claim[i].bucket].form, key, normal, &len);
        if (form == CW_NOT_PLAIN) {
            return stop(d, CW_WHY_NOT_PLAIN);
        }
        uint32_t id = 0;
        int owner = form == CW_NOBODYS ? CW_UNKNOWN
                                       : d->owners->owner(d->owners->ctx, name, (cw_text){normal, len}, &id);
        if (owner == CW_OWNED) {
            const cw_cell *cell = cw_cell_by_id(&program->cells, id);
            return cell == NULL ? stop(d, CW_WHY_NO_CELL) : to_cell(d, rule, cell);
        }
        if (owner != CW_UNKNOWN) {
            return stop(d, CW_WHY_ASKED);
        }
    }
    return asked ? answer_if(d, rule->on_unknown, CW_WHY_UNKNOWN) : PASSED;
}

/* The id that a text stands for, in the one form in which ids are written; 0: it is none. */
static uint64_t cell_id(cw_text text) {
    uint64_t id = 0;
    if (text.len > 19 || text.ptr[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return 0;
        }
        id = id * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return id;
}

static verdict keyed(decision *d, const cw_rule *rule) {
    const cw_cell_table *cells = &d->run.program->cells;
    cw_text key;
    verdict said = render(d, &rule->key, &key);
    if (said != ANSWERED) {
        return said;
    }
    const cw_cell *cell;
    if (key.len == 0) {
        cell = NULL;
    } else if (rule->action == CW_SESSION_PREFIX) {
        cell = cw_cell_by_prefix(cells, key);
    } else {
        uint64_t id = cell_id(key);
        cell = id == 0 ? NULL : cw_cell_by_id(cells, id);
    }
    return cell == NULL ? answer_if(d, rule->on_unknown, CW_WHY_UNKNOWN) : to_cell(d, rule, cell);
}

static verdict ask(decision *d, const cw_rule *rule) {
    if (!rule->same) {
        d->like_before = prepare(d, rule);
    }
    if (d->like_before == (verdict)INVALID) {
        return answer_if(d, rule->on_invalid, CW_WHY_INVALID);
    }
    if (d->like_before != ANSWERED) {
        return d->like_before;
    }
    for (uint8_t i = 0; i < rule->required; i++) {
        const value *given = &d->values[rule->required_slot[i]];
        if (given->unclear) {
            return stop(d, CW_WHY_NOT_PLAIN);
        }
        if (given->text.len == 0) {
            return PASSED;
        }
    }
    switch (rule->action) {
    case CW_CLAIMS:
        return claims(d, rule);
    case CW_FIXED:
        return answer_if(d, rule->on_fixed, CW_WHY_FIXED);
    case CW_OPAQUE_ACTION:
        return stop(d, CW_WHY_OPAQUE);
    default:
        return keyed(d, rule);
    }
}

static size_t write_answer(const decision *d, uint16_t rule, char *out) {
    static const char *const words[] = {
        [CW_WHY_UNKNOWN] = "unknown", [CW_WHY_INVALID] = "invalid", [CW_WHY_FIXED] = "fixed"};
    size_t len = cw_write_decimal(rule, out);
    out[len++] = d->result;
    if (d->result == ':') {
        return len + cw_write_decimal(d->cell, out + len);
    }
    size_t more = strlen(words[d->why]);
    memcpy(out + len, words[d->why], more);
    return len + more;
}

size_t cw_decide(const cw_program *program, const cw_request *request, const cw_owners *owners,
                 char *out, size_t out_size, cw_outcome *outcome) {
    decision d;
    d.owners = owners;
    d.like_before = PASSED;
    cw_run_begin(&d.run, program, request);
    for (uint16_t i = 0; i < program->rules; i++) {
        if (program->need[i].text != CW_NONE && cw_lacks(&d.run, program->need[i])) {
            continue;
        }
        verdict said = ask(&d, &program->rule[i]);
        if (said == PASSED) {
            continue;
        }
        *outcome = (cw_outcome){i, d.why};
        return said == ANSWERED && out_size >= CW_ANSWER_BYTES ? write_answer(&d, i, out) : 0;
    }
    *outcome = (cw_outcome){program->rules, CW_WHY_NO_RULE};
    return 0;
}
