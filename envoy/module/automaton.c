#include "automaton.h"

#include <string.h>

/* Compilers make one load of these where the processor can. */
static inline uint32_t u16_at(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t u32_at(const uint8_t *at) {
    return u16_at(at) | u16_at(at + 2) << 16;
}

static inline uint64_t u64_at(const uint8_t *at) {
    return (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
}

/* The sizes below are products of 16-bit numbers, added up in 64 bits: they can't overflow. */

enum { SET_HEADER = 16, PART_HEADER = 16, CAPTURES_HEADER = 24, COLUMNS = 256 };

typedef struct {
    uint32_t states, columns, start, quiet, sets;
    const uint8_t *column, *ends, *tells, *set, *next;
    uint64_t size;
} part;

static part part_at(const uint8_t *code, uint32_t words) {
    part it;
    it.states = u16_at(code + 4);
    it.columns = u16_at(code + 6);
    it.start = u16_at(code + 8);
    it.quiet = u16_at(code + 10);
    it.sets = u16_at(code + 12);
    uint64_t telling = it.quiet < it.states ? it.states - it.quiet : 0;
    uint64_t ends = PART_HEADER + COLUMNS;
    uint64_t tells = ends + 2 * (uint64_t)it.states;
    uint64_t set = tells + 2 * telling;
    uint64_t next = set + 8 * (uint64_t)it.sets * words;
    it.size = next + 2 * (uint64_t)it.states * it.columns;
    it.column = code + PART_HEADER;
    it.ends = code + ends;
    it.tells = code + tells;
    it.set = code + set;
    it.next = code + next;
    return it;
}

/* Return whether `count` u16 are all less than `bound`. */
static int all_below(const uint8_t *values, uint64_t count, uint32_t bound) {
    for (uint64_t i = 0; i < count; i++) {
        if (u16_at(values + 2 * i) >= bound) return 0;
    }
    return 1;
}

static int columns_below(const uint8_t *column, uint32_t bound) {
    for (int i = 0; i < COLUMNS; i++) {
        if (column[i] >= bound) return 0;
    }
    return 1;
}

/* Return the size of the part if a run can take it, else 0. */
static uint64_t checked_part(const uint8_t *code, uint64_t left, uint32_t words) {
    if (left < PART_HEADER + COLUMNS) return 0;
    part it = part_at(code, words);
    if (it.size > left || u32_at(code) != it.size) return 0;
    if (it.states == 0 || it.columns == 0 || it.sets == 0) return 0;
    if (it.start >= it.states || it.quiet == 0 || it.quiet > it.states) return 0;
    if (!columns_below(it.column, it.columns)) return 0;
    if (!all_below(it.ends, it.states, it.sets)) return 0;
    if (!all_below(it.tells, it.states - it.quiet, it.sets)) return 0;
    if (!all_below(it.next, (uint64_t)it.states * it.columns, it.states)) return 0;
    return it.size;
}

int cw_set_check(const uint8_t *code, size_t size) {
    if (size < SET_HEADER || memcmp(code, "CWS1", 4) != 0 || u32_at(code + 4) != size) return 0;
    uint32_t regexes = u16_at(code + 8), words = u16_at(code + 10), parts = u16_at(code + 12);
    if (words > CW_SET_WORDS || words != (regexes + 63) / 64) return 0;
    uint64_t at = SET_HEADER;
    for (uint32_t i = 0; i < parts; i++) {
        uint64_t taken = checked_part(code + at, size - at, words);
        if (taken == 0) return 0;
        at += taken;
    }
    return at == size;
}

size_t cw_set_words(const uint8_t *code) {
    return u16_at(code + 10);
}

static inline void add_set(const part *it, uint32_t index, uint32_t words, uint64_t *bits) {
    const uint8_t *set = it->set + (uint64_t)8 * index * words;
    for (uint32_t i = 0; i < words; i++) bits[i] |= u64_at(set + 8 * i);
}

static void run_part(const part *it, uint32_t words, const char *text, size_t length,
                     uint64_t *bits) {
    uint32_t state = it->start;
    const uint8_t *at = (const uint8_t *)text, *end = at + length;
    for (;;) {
        if (state >= it->quiet) {
            add_set(it, u16_at(it->tells + 2 * (state - it->quiet)), words, bits);
        }
        if (at == end) break;
        if (state == 0) return;
        state = u16_at(it->next + 2 * ((size_t)state * it->columns + it->column[*at++]));
    }
    add_set(it, u16_at(it->ends + 2 * state), words, bits);
}

void cw_set_run(const uint8_t *code, const char *text, size_t length, uint64_t *bits) {
    uint32_t words = u16_at(code + 10), parts = u16_at(code + 12);
    for (uint32_t i = 0; i < words; i++) bits[i] = 0;
    const uint8_t *at = code + SET_HEADER;
    for (uint32_t i = 0; i < parts; i++) {
        part it = part_at(at, words);
        run_part(&it, words, text, length, bits);
        at += it.size;
    }
}

enum { NOTHING = 254, POSITION = 255 };

typedef struct {
    uint32_t states, columns, start, groups, registers, lists, bytes;
    const uint8_t *column, *list, *ends, *moves, *way;
    uint64_t size;
} captures;

static captures captures_at(const uint8_t *code) {
    captures it;
    it.states = u16_at(code + 8);
    it.columns = u16_at(code + 10);
    it.start = u16_at(code + 12);
    it.groups = code[14];
    it.registers = code[15];
    it.lists = u16_at(code + 16);
    it.bytes = u32_at(code + 20);
    uint64_t list = CAPTURES_HEADER + COLUMNS;
    uint64_t ends = list + 4 * (uint64_t)it.lists;
    uint64_t moves = ends + 2 * (uint64_t)it.states;
    uint64_t way = moves + it.bytes;
    it.size = way + 4 * (uint64_t)it.states * it.columns;
    it.column = code + CAPTURES_HEADER;
    it.list = code + list;
    it.ends = code + ends;
    it.moves = code + moves;
    it.way = code + way;
    return it;
}

/* Return whether a list of moves lies within the moves, and all its registers are there. */
static int list_is_good(const captures *it, uint32_t index) {
    uint64_t at = u32_at(it->list + 4 * (uint64_t)index);
    if (at + 2 > it->bytes) return 0;
    uint64_t count = it->moves[at + 1];
    if (at + 2 + 2 * count > it->bytes) return 0;
    const uint8_t *move = it->moves + at + 2;
    for (uint64_t i = 0; i < count; i++, move += 2) {
        if (move[0] >= it->registers) return 0;
        if (move[1] >= it->registers && move[1] < NOTHING) return 0;
    }
    return 1;
}

int cw_captures_check(const uint8_t *code, size_t size) {
    if (size < CAPTURES_HEADER + COLUMNS || memcmp(code, "CWC1", 4) != 0) return 0;
    captures it = captures_at(code);
    if (it.size != size || u32_at(code + 4) != size) return 0;
    if (it.states == 0 || it.columns == 0 || it.lists == 0 || it.start >= it.states) return 0;
    if (it.groups > CW_CAPTURES_GROUPS || it.registers > CW_CAPTURES_REGISTERS) return 0;
    if (it.registers < 2 * it.groups) return 0;
    if (!columns_below(it.column, it.columns)) return 0;
    for (uint32_t i = 0; i < it.lists; i++) {
        if (!list_is_good(&it, i)) return 0;
    }
    if (!all_below(it.ends, it.states, it.lists)) return 0;
    for (uint64_t i = 0; i < (uint64_t)it.states * it.columns; i++) {
        uint32_t way = u32_at(it.way + 4 * i);
        if ((way & 0xffff) >= it.states || way >> 16 >= it.lists) return 0;
    }
    return 1;
}

size_t cw_captures_groups(const uint8_t *code) {
    return code[14];
}

/* Do the moves of a list; return whether the regex occurs. */
static inline int move(const captures *it, uint32_t index, int32_t *registers, int32_t position) {
    const uint8_t *at = it->moves + u32_at(it->list + 4 * (uint64_t)index);
    int occurs = at[0] != 0;
    for (uint32_t count = at[1]; count > 0; count--) {
        at += 2;
        registers[at[0]] =
            at[1] == POSITION ? position : at[1] == NOTHING ? -1 : registers[at[1]];
    }
    return occurs;
}

int cw_captures_run(const uint8_t *code, const char *text, size_t length, int32_t *spans) {
    captures it = captures_at(code);
    uint32_t told = 2 * it.groups;
    int32_t registers[CW_CAPTURES_REGISTERS];
    for (uint32_t i = 0; i < told; i++) spans[i] = -1;
    for (uint32_t i = 0; i < it.registers; i++) registers[i] = -1;
    if (length > INT32_MAX) return -1;
    const uint8_t *bytes = (const uint8_t *)text;
    uint32_t state = it.start;
    int occurs = 0;
    size_t at = 0;
    while (at < length && state != 0) {
        size_t index = (size_t)state * it.columns + it.column[bytes[at]];
        uint32_t way = u32_at(it.way + 4 * index);
        if (way >> 16 != 0) occurs |= move(&it, way >> 16, registers, (int32_t)at);
        state = way & 0xffff;
        at++;
    }
    if (at == length) {
        uint32_t last = u16_at(it.ends + 2 * state);
        if (last != 0) occurs |= move(&it, last, registers, (int32_t)length);
    }
    if (!occurs) return 0;
    for (uint32_t i = 0; i < told; i++) spans[i] = registers[i];
    return 1;
}
