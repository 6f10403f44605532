#include "cell_table.h"

#include <string.h>

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

/* Operators choose the prefixes, so nobody else can make them collide. */
static uint64_t hash_text(cw_text text) {
    uint64_t hash = 0x9e3779b97f4a7c15u ^ text.len;
    const char *at = text.ptr;
    size_t left = text.len;
    for (; left >= 8; at += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = mix(hash ^ word) + 0x9e3779b97f4a7c15u;
    }
    uint64_t rest = 0;
    memcpy(&rest, at, left);
    return mix(hash ^ rest);
}

uint32_t cw_table_places(uint32_t entries) {
    uint32_t places = 4;
    while (places < 2 * (uint64_t)entries) {
        places *= 2;
    }
    return places;
}

void cw_cell_table_fill(cw_cell_table *table) {
    for (uint32_t i = 0; i < table->cells; i++) {
        uint32_t at = (uint32_t)mix(table->cell[i].id) & table->id_mask;
        while (table->by_id[at]) {
            at = (at + 1) & table->id_mask;
        }
        table->by_id[at] = i + 1;
    }
    for (uint32_t i = 0; i < table->prefixes; i++) {
        cw_prefix *prefix = &table->prefix[i];
        prefix->hash = hash_text(prefix->prefix);
        uint32_t at = (uint32_t)prefix->hash & table->prefix_mask;
        while (table->by_prefix[at]) {
            at = (at + 1) & table->prefix_mask;
        }
        table->by_prefix[at] = i + 1;
    }
}

const cw_cell *cw_cell_by_id(const cw_cell_table *table, uint64_t id) {
    uint32_t at = (uint32_t)mix(id) & table->id_mask;
    for (; table->by_id[at]; at = (at + 1) & table->id_mask) {
        const cw_cell *cell = &table->cell[table->by_id[at] - 1];
        if (cell->id == id) {
            return cell;
        }
    }
    return NULL;
}

const cw_cell *cw_cell_by_prefix(const cw_cell_table *table, cw_text text) {
    uint64_t hash = hash_text(text);
    uint32_t at = (uint32_t)hash & table->prefix_mask;
    for (; table->by_prefix[at]; at = (at + 1) & table->prefix_mask) {
        const cw_prefix *prefix = &table->prefix[table->by_prefix[at] - 1];
        if (prefix->hash == hash && prefix->prefix.len == text.len &&
            memcmp(prefix->prefix.ptr, text.ptr, text.len) == 0) {
            return &table->cell[prefix->cell];
        }
    }
    return NULL;
}
