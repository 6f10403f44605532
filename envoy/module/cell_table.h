/* From a cell's id, or its session prefix, to the cell. A look-up costs the same for any number. */
#ifndef CW_CELL_TABLE_H
#define CW_CELL_TABLE_H

#include "program.h"

typedef struct {
    uint64_t id;
    uint8_t serving;
} cw_cell;

typedef struct {
    cw_text prefix;
    uint32_t cell;
    uint64_t hash;
} cw_prefix;

typedef struct {
    uint32_t cells, prefixes;
    uint32_t id_mask, prefix_mask; /* of the two tables, whose sizes are powers of two */
    cw_cell *cell;
    cw_prefix *prefix;
    uint32_t *by_id, *by_prefix; /* an index and 1; 0: free */
} cw_cell_table;

/* How many places a table for so many entries has: at most half of them are taken. */
uint32_t cw_table_places(uint32_t entries);

/* Fill both tables, which are zero. */
void cw_cell_table_fill(cw_cell_table *table);

/* NULL if there is none. */
const cw_cell *cw_cell_by_id(const cw_cell_table *table, uint64_t id);
const cw_cell *cw_cell_by_prefix(const cw_cell_table *table, cw_text prefix);

#endif
