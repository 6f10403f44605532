/* What the module counts. Each thread counts for itself (readers.h); who reads adds them up. */
#ifndef CW_STATS_H
#define CW_STATS_H

#include "readers.h"

#define CW_COUNTED_WHY 0   /* + CW_WHY_… of program.h: how each request ended */
#define CW_COUNTED_RULE 64 /* + the rule that answered */
#define CW_RULES_COUNTED 256 /* the last one stands for all that follow */

enum {
    CW_ASKED_OFF = 32, /* the map is off */
    CW_ASKED_EMPTY,    /* there is no table yet */
    CW_ASKED_VOID,     /* the table is older than the epoch of the name's shard */
    CW_ASKED_MARKED,   /* two names have this fingerprint */
    CW_ASKED_LATE,     /* nobody owns it, but the table was not current within the last second */
    CW_ASKED_NEW,     /* nobody owns it, but it may be new, and few such requests came */
    CW_ASKED_LAST,
};

_Static_assert(CW_COUNTED_RULE + CW_RULES_COUNTED <= CW_COUNTERS, "counters of a reader");

/* What a counter is called in Envoy's stats, without its labels; NULL: it has no name. */
typedef struct {
    unsigned counter;
    const char *label;
} cw_stat_name;

/* Names of how a request ended, and of why the table was not certain; the last label is NULL. */
extern const cw_stat_name cw_outcome_names[], cw_doubt_names[];

/* Count how a request ended. */
void cw_count_outcome(cw_reader *reader, unsigned rule, unsigned why, int answered);

#endif
