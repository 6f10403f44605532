/* Who owns which name, complete up to a revision: slots, the ids of cells, and growth.
 *
 * One thread writes. When the slots get crowded, larger ones are built beside them, a few buckets at
 * each change, and a pointer is switched when all are there; meanwhile each change goes to both.
 */
#ifndef CW_TABLE_H
#define CW_TABLE_H

#include "readers.h"
#include "siphash.h"
#include "slots.h"

#define CW_NOBODY UINT32_C(0)
#define CW_ASK_CELL UINT32_C(0xffffffff)
#define CW_CELLS_MAX 65000 /* different cells of one table; a name of a further one is asked for */

typedef struct cw_table {
    cw_key key;
    uint64_t lineage;
    _Atomic uint64_t revision; /* complete up to this one; 0: not complete yet */
    _Atomic uint64_t recent_until; /* up to this moment, what is not in it is owned by nobody */
    void *_Atomic slots;
    cw_slots *next; /* larger slots in the making, or NULL */
    uint64_t copied; /* buckets that `next` has */
    unsigned attempts; /* to grow, since the last one that succeeded */
    cw_garbage *garbage;
    _Atomic uint32_t *cells; /* by number: the cell's id */
    uint16_t *numbers; /* a hash table: where a cell's number is */
    uint32_t cells_known;
} cw_table;

/* A table for this many names; NULL: no memory. Slots that it replaces become garbage. */
cw_table *cw_table_new(cw_key key, uint64_t lineage, uint64_t names, cw_garbage *garbage);
void cw_table_free(void *table);

/* Give a name an owner: a cell's id, CW_NOBODY or CW_ASK_CELL. False: there is no memory, or so
 * many hashes agree in their upper bits that they are none of SipHash; the table is of no use. */
bool cw_table_set(cw_table *table, uint64_t hash, uint32_t cell);

/* Copy so many buckets into the slots in the making, if there are any. False: no memory. */
bool cw_table_grow(cw_table *table, uint64_t buckets);

/* The owner of a name, as cw_table_set takes it. The caller has pinned the table. */
uint32_t cw_table_get(cw_table *table, cw_reader *reader, uint64_t hash);

uint64_t cw_table_names(const cw_table *table);
uint64_t cw_table_bytes(const cw_table *table);

#endif
