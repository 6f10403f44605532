/* The module's counts as Envoy's stats. The main thread writes them; no request does. */
#ifndef CW_ENVOY_STATS_H
#define CW_ENVOY_STATS_H

#include "stream.h"

enum { CW_GAUGES = 7 };

/* The ids of the stats in one filter's configuration. */
typedef struct {
    bool defined;
    size_t outcomes, rules, doubts, resets, gauges[CW_GAUGES];
} cw_stat_ids;

/* Why a stream ended, besides cw_odd. */
enum {
    CW_RESET_UNREACHABLE = CW_ODD_COUNT,
    CW_RESET_REFUSED,
    CW_RESET_ENDED,
    CW_RESET_SILENT,
    CW_RESETS,
};

/* Define the stats; while a configuration is made, and never later. */
void cw_stats_define(void *envoy, cw_stat_ids *ids);

/* Count that a stream ended, and write to the log why. */
void cw_stats_reset(void *envoy, const cw_stat_ids *ids, unsigned why);

/* Bring Envoy's stats up to date. */
void cw_stats_flush(void *envoy, const cw_stat_ids *ids, const cw_stream *stream, bool connected);

#endif
