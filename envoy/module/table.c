#include "table.h"

#include <stdlib.h>

#define ASK_NUMBER UINT16_MAX
#define NUMBERS (1u << 17) /* a power of two, above twice the cells */
#define COPIED_PER_NAME 16 /* so all is copied before the slots are full */
#define ATTEMPTS 3 /* honest hashes need one */
#define SLOTS_PIN 1
static const double grown_by = 1.15;

static cw_slots *slots_of(const cw_table *table)
{
    return atomic_load_explicit(&table->slots, memory_order_relaxed);
}

cw_table *cw_table_new(cw_key key, uint64_t lineage, uint64_t names, cw_garbage *garbage)
{
    cw_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->key = key;
    table->lineage = lineage;
    table->garbage = garbage;
    table->cells = calloc(UINT16_MAX + 1u, sizeof(*table->cells));
    table->numbers = calloc(NUMBERS, sizeof(*table->numbers));
    cw_slots *slots = cw_slots_new(names);
    atomic_init(&table->slots, slots);
    if (slots == NULL || table->cells == NULL || table->numbers == NULL) {
        cw_table_free(table);
        return NULL;
    }
    atomic_init(&table->cells[ASK_NUMBER], CW_ASK_CELL);
    return table;
}

void cw_table_free(void *what)
{
    cw_table *table = what;
    if (table == NULL)
        return;
    cw_slots_free(slots_of(table));
    cw_slots_free(table->next);
    free((void *)table->cells);
    free(table->numbers);
    free(table);
}

/* The number of a cell, a new one if it has none. */
static uint16_t number_of(cw_table *table, uint32_t cell)
{
    if (cell == CW_ASK_CELL)
        return ASK_NUMBER;
    uint32_t at = cell * UINT32_C(2654435769) >> 15;
    while (table->numbers[at] != 0) {
        uint16_t number = table->numbers[at];
        if (atomic_load_explicit(&table->cells[number], memory_order_relaxed) == cell)
            return number;
        at = (at + 1) & (NUMBERS - 1);
    }
    if (table->cells_known == CW_CELLS_MAX)
        return ASK_NUMBER;
    uint16_t number = (uint16_t)++table->cells_known;
    atomic_store_explicit(&table->cells[number], cell, memory_order_relaxed);
    table->numbers[at] = number;
    return number;
}

static bool begin_to_grow(cw_table *table)
{
    cw_slots *slots = slots_of(table);
    cw_slots_free(table->next);
    table->copied = 0;
    table->next = NULL;
    if (++table->attempts > ATTEMPTS)
        return false;
    table->next = cw_slots_new((uint64_t)((double)slots->names * grown_by) + CW_BUCKET);
    return table->next != NULL;
}

static void switch_slots(cw_table *table)
{
    cw_slots *before = slots_of(table);
    atomic_store(&table->slots, table->next);
    table->next = NULL;
    table->attempts = 0;
    cw_discard(table->garbage, before, cw_slots_free);
}

bool cw_table_grow(cw_table *table, uint64_t buckets)
{
    cw_slots *slots = slots_of(table);
    if (table->next == NULL)
        return true;
    for (; buckets > 0 && table->copied < slots->buckets; buckets--) {
        if (cw_slots_copy(slots, table->copied, table->next) == CW_FULL)
            return begin_to_grow(table);
        table->copied++;
    }
    if (table->copied == slots->buckets)
        switch_slots(table);
    return true;
}

/* Make room at once: a name has found no place. */
static bool make_room(cw_table *table)
{
    if (table->next == NULL && !begin_to_grow(table))
        return false;
    while (table->next != NULL)
        if (!cw_table_grow(table, UINT64_MAX))
            return false;
    return true;
}

bool cw_table_set(cw_table *table, uint64_t hash, uint32_t cell)
{
    uint16_t number = cell == CW_NOBODY ? 0 : number_of(table, cell);
    if (cw_slots_set(slots_of(table), hash, number) == CW_FULL &&
        (!make_room(table) || cw_slots_set(slots_of(table), hash, number) == CW_FULL))
        return false;
    if (table->next == NULL && cw_slots_are_crowded(slots_of(table)) && !begin_to_grow(table))
        return false;
    if (table->next == NULL)
        return true;
    if (cw_slots_set(table->next, hash, number) == CW_FULL)
        return begin_to_grow(table);
    return cw_table_grow(table, COPIED_PER_NAME);
}

uint32_t cw_table_get(cw_table *table, cw_reader *reader, uint64_t hash)
{
    const cw_slots *slots = cw_pin(reader, SLOTS_PIN, &table->slots);
    uint16_t number = cw_slots_get(slots, hash);
    cw_unpin(reader, SLOTS_PIN);
    return atomic_load_explicit(&table->cells[number], memory_order_relaxed);
}

uint64_t cw_table_names(const cw_table *table)
{
    return slots_of(table)->names;
}

uint64_t cw_table_bytes(const cw_table *table)
{
    size_t next = table->next != NULL ? cw_slots_bytes(table->next) : 0;
    return cw_slots_bytes(slots_of(table)) + next;
}
