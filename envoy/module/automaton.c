#include "automaton.h"

#include <string.h>

#include "little_endian.h"

/* Sizes are sums of products of 16-bit and 32-bit numbers with small factors. In 64 bits they can't
   overflow. Offsets become pointers only once they are known to lie within the code. */

enum { COLUMNS = 256, SET_HEADER = 16, PART_HEADER = 20, CAPTURES_HEADER = 28 };
enum { PART_CELL = 4, CAPTURES_FALLBACK = 4, CAPTURES_CELL = 6 };
enum { READ_NOTHING = 254, READ_POSITION = 255 };

typedef struct {
    const uint8_t *code;
    uint32_t states, columns, start, quiet, sets, cells, words;
    uint64_t fallback, ends, tells, cell, set, size; /* offsets */
} part;

static part part_at(const uint8_t *code, uint32_t words)
{
    part it = {.code = code, .words = words};
    it.cells = cw_u32(code + 4);
    it.states = cw_u16(code + 8);
    it.columns = cw_u16(code + 10);
    it.start = cw_u16(code + 12);
    it.quiet = cw_u16(code + 14);
    it.sets = cw_u16(code + 16);
    uint64_t telling = it.quiet < it.states ? it.states - it.quiet : 0;
    it.fallback = PART_HEADER + COLUMNS;
    it.ends = it.fallback + (uint64_t)2 * it.states;
    it.tells = it.ends + (uint64_t)2 * it.states;
    it.cell = it.tells + 2 * telling;
    it.set = it.cell + (uint64_t)PART_CELL * it.cells;
    it.size = it.set + (uint64_t)8 * it.sets * words;
    return it;
}

/* Whether the first number of each of some records is less than a bound. */
static int all_below(const uint8_t *record, uint64_t count, size_t size, uint32_t bound)
{
    for (; count > 0; count--, record += size)
        if (cw_u16(record) >= bound)
            return 0;
    return 1;
}

/* Whether each byte has a column, and each state of more than none has a cell in each column. */
static int rows_are_there(const uint8_t *column, uint32_t columns, uint32_t states, uint32_t cells)
{
    for (int byte = 0; byte < COLUMNS; byte++)
        if (column[byte] >= columns)
            return 0;
    return (uint64_t)states + columns <= (uint64_t)cells + 1;
}

/* The size of a part, or 0 if it can't be run. */
static uint64_t checked_part(const uint8_t *code, uint64_t left, uint32_t words)
{
    if (left < PART_HEADER + COLUMNS)
        return 0;
    part it = part_at(code, words);
    if (it.size > left || it.size != cw_u32(code))
        return 0;
    if (it.start >= it.states || it.quiet > it.states)
        return 0;
    if (!rows_are_there(code + PART_HEADER, it.columns, it.states, it.cells))
        return 0;
    if (!all_below(code + it.fallback, it.states, 2, it.states))
        return 0;
    if (!all_below(code + it.cell + 2, it.cells, PART_CELL, it.states))
        return 0;
    if (!all_below(code + it.ends, it.states, 2, it.sets))
        return 0;
    return all_below(code + it.tells, it.states - it.quiet, 2, it.sets) ? it.size : 0;
}

int cw_set_check(const uint8_t *code, size_t size)
{
    if (size < SET_HEADER || memcmp(code, "CWS1", 4) != 0 || cw_u32(code + 4) != size)
        return 0;
    uint32_t regexes = cw_u16(code + 8), words = cw_u16(code + 10), parts = cw_u16(code + 12);
    if (words > CW_SET_WORDS || words != (regexes + 63) / 64)
        return 0;
    uint64_t at = SET_HEADER;
    for (; parts > 0; parts--) {
        uint64_t taken = checked_part(code + at, size - at, words);
        if (taken == 0)
            return 0;
        at += taken;
    }
    return at == size;
}

size_t cw_set_words(const uint8_t *code)
{
    return cw_u16(code + 10);
}

static inline void add_set(const part *it, uint64_t index_at, uint64_t *bits)
{
    const uint8_t *set = it->code + it->set + (uint64_t)8 * it->words * cw_u16(it->code + index_at);
    for (uint32_t word = 0; word < it->words; word++)
        bits[word] |= cw_u64(set + 8 * word);
}

static void run_part(const part *it, const uint8_t *at, const uint8_t *end, uint64_t *bits)
{
    const uint8_t *column = it->code + PART_HEADER;
    const uint8_t *fallbacks = it->code + it->fallback, *cells = it->code + it->cell;
    uint32_t state = it->start, quiet = it->quiet;
    for (;; at++) {
        if (state >= quiet)
            add_set(it, it->tells + 2 * (state - quiet), bits);
        if (at == end)
            break;
        if (state == 0)
            return;
        uint32_t cell = cw_u32(cells + PART_CELL * (state + column[*at]));
        uint32_t fallback = cw_u16(fallbacks + 2 * state);
        state = (cell & 0xffff) == state ? cell >> 16 : fallback;
    }
    add_set(it, it->ends + 2 * state, bits);
}

void cw_set_run(const uint8_t *code, const char *text, size_t len, uint64_t *bits)
{
    const uint8_t *bytes = (const uint8_t *)(len > 0 ? text : ""), *at = code + SET_HEADER;
    uint32_t words = cw_u16(code + 10);
    for (uint32_t word = 0; word < words; word++)
        bits[word] = 0;
    for (uint32_t parts = cw_u16(code + 12); parts > 0; parts--) {
        part it = part_at(at, words);
        run_part(&it, bytes, bytes + len, bits);
        at += it.size;
    }
}

typedef struct {
    const uint8_t *code;
    uint32_t states, columns, start, groups, registers, lists, cells, bytes;
    uint64_t fallback, ends, cell, list, moves, size; /* offsets */
} captures;

static captures captures_at(const uint8_t *code)
{
    captures it = {.code = code};
    it.cells = cw_u32(code + 8);
    it.bytes = cw_u32(code + 12);
    it.states = cw_u16(code + 16);
    it.columns = cw_u16(code + 18);
    it.start = cw_u16(code + 20);
    it.lists = cw_u16(code + 22);
    it.groups = code[24];
    it.registers = code[25];
    it.fallback = CAPTURES_HEADER + COLUMNS;
    it.ends = it.fallback + (uint64_t)CAPTURES_FALLBACK * it.states;
    it.cell = it.ends + (uint64_t)2 * it.states;
    it.list = it.cell + (uint64_t)CAPTURES_CELL * it.cells;
    it.moves = it.list + (uint64_t)4 * it.lists;
    it.size = it.moves + it.bytes;
    return it;
}

/* Whether a list of moves lies within the moves, and its registers are there. */
static int list_is_good(const captures *it, uint32_t index)
{
    uint64_t at = cw_u32(it->code + it->list + 4 * (uint64_t)index);
    if (at + 2 > it->bytes)
        return 0;
    const uint8_t *move = it->code + it->moves + at;
    uint32_t count = move[1];
    if (at + 2 + 2 * count > it->bytes)
        return 0;
    for (move += 2; count > 0; count--, move += 2) {
        if (move[0] >= it->registers)
            return 0;
        if (move[1] >= it->registers && move[1] < READ_NOTHING)
            return 0;
    }
    return 1;
}

int cw_captures_check(const uint8_t *code, size_t size)
{
    if (size < CAPTURES_HEADER + COLUMNS || memcmp(code, "CWC1", 4) != 0)
        return 0;
    captures it = captures_at(code);
    if (it.size != size || it.size != cw_u32(code + 4) || it.start >= it.states)
        return 0;
    if (it.groups > CW_CAPTURES_GROUPS || it.registers > CW_CAPTURES_REGISTERS)
        return 0;
    if (2 * it.groups > it.registers)
        return 0;
    const uint8_t *fallback = code + it.fallback, *cell = code + it.cell;
    if (!rows_are_there(code + CAPTURES_HEADER, it.columns, it.states, it.cells))
        return 0;
    if (!all_below(fallback, it.states, CAPTURES_FALLBACK, it.states))
        return 0;
    if (!all_below(fallback + 2, it.states, CAPTURES_FALLBACK, it.lists))
        return 0;
    if (!all_below(code + it.ends, it.states, 2, it.lists))
        return 0;
    if (!all_below(cell + 2, it.cells, CAPTURES_CELL, it.states))
        return 0;
    if (!all_below(cell + 4, it.cells, CAPTURES_CELL, it.lists))
        return 0;
    for (uint32_t list = 0; list < it.lists; list++)
        if (!list_is_good(&it, list))
            return 0;
    return 1;
}

size_t cw_captures_groups(const uint8_t *code)
{
    return code[24];
}

/* Do the moves of a list; return whether the regex occurs. */
static inline int do_moves(const captures *it, uint32_t list, int32_t *registers, int32_t position)
{
    const uint8_t *at = it->code + it->moves + cw_u32(it->code + it->list + 4 * list);
    int occurs = at[0] != 0;
    for (uint32_t count = at[1]; count > 0; count--) {
        at += 2;
        if (at[1] == READ_POSITION)
            registers[at[0]] = position;
        else
            registers[at[0]] = at[1] == READ_NOTHING ? -1 : registers[at[1]];
    }
    return occurs;
}

static int run_captures(const captures *it, const uint8_t *text, int32_t len, int32_t *registers)
{
    const uint8_t *column = it->code + CAPTURES_HEADER;
    const uint8_t *fallbacks = it->code + it->fallback, *cells = it->code + it->cell;
    uint32_t state = it->start;
    int occurs = 0;
    for (int32_t at = 0; at < len; at++) {
        if (state == 0)
            return occurs;
        const uint8_t *cell = cells + CAPTURES_CELL * (state + column[text[at]]);
        uint32_t way = cw_u32(fallbacks + CAPTURES_FALLBACK * state);
        if (cw_u16(cell) == state)
            way = cw_u32(cell + 2);
        if (way >> 16 != 0)
            occurs |= do_moves(it, way >> 16, registers, at);
        state = way & 0xffff;
    }
    uint32_t last = cw_u16(it->code + it->ends + 2 * state);
    return occurs | do_moves(it, last, registers, len);
}

int cw_captures_run(const uint8_t *code, const char *text, size_t len, int32_t *spans)
{
    captures it = captures_at(code);
    int32_t registers[CW_CAPTURES_REGISTERS];
    for (uint32_t i = 0; i < it.registers; i++)
        registers[i] = -1;
    for (uint32_t i = 0; i < 2 * it.groups; i++)
        spans[i] = -1;
    if (len > INT32_MAX)
        return -1;
    int occurs = run_captures(&it, (const uint8_t *)text, (int32_t)len, registers);
    for (uint32_t i = 0; occurs && i < 2 * it.groups; i++)
        spans[i] = registers[i];
    return occurs;
}
