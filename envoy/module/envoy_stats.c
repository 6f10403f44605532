#include "envoy_stats.h"

#include <stdio.h>
#include <string.h>

#include "envoy_abi.h"
#include "envoy_process.h"
#include "stats.h"

static const char *const gauge_names[CW_GAUGES] = {
    "cellway_edge_names",  "cellway_edge_table_bytes", "cellway_edge_revision",
    "cellway_edge_lag_ms", "cellway_edge_source",      "cellway_edge_connected",
    "cellway_edge_on",
};

static const char *const reset_names[CW_RESETS] = {
    [CW_GOOD] = "none",
    [CW_ODD_COMPRESSED] = "compressed",
    [CW_ODD_LENGTH] = "length",
    [CW_ODD_CHECKSUM] = "checksum",
    [CW_ODD_KIND] = "kind",
    [CW_ODD_KEY] = "key",
    [CW_ODD_ORDER] = "order",
    [CW_ODD_TABLE] = "table",
    [CW_ODD_REVISION] = "revision",
    [CW_ODD_MEMORY] = "memory",
    [CW_RESET_UNREACHABLE] = "unreachable",
    [CW_RESET_REFUSED] = "refused",
    [CW_RESET_ENDED] = "ended",
    [CW_RESET_SILENT] = "silent",
};

/* What Envoy's counters have been told already. */
static uint64_t told[CW_COUNTERS];

static cw_envoy_text text_of(const char *text)
{
    return (cw_envoy_text){text, strlen(text)};
}

static bool counter(void *envoy, const char *name, const char *label, size_t *id)
{
    cw_envoy_text labels[] = {text_of(label)};
    return CW_ENVOY(http_filter_config_define_counter)(envoy, text_of(name), labels, 1, id) ==
           CW_ENVOY_OK;
}

void cw_stats_define(void *envoy, cw_stat_ids *ids)
{
    ids->defined = counter(envoy, "cellway_edge_requests", "outcome", &ids->outcomes) &&
                   counter(envoy, "cellway_edge_answers", "rule", &ids->rules) &&
                   counter(envoy, "cellway_edge_doubts", "reason", &ids->doubts) &&
                   counter(envoy, "cellway_edge_resets", "reason", &ids->resets);
    for (unsigned at = 0; at < CW_GAUGES && ids->defined; at++)
        ids->defined = CW_ENVOY(http_filter_config_define_gauge)(
                           envoy, text_of(gauge_names[at]), NULL, 0, &ids->gauges[at]
                       ) == CW_ENVOY_OK;
}

static void add(void *envoy, size_t id, const char *label, uint64_t by)
{
    cw_envoy_text labels[] = {text_of(label)};
    if (by != 0)
        CW_ENVOY(http_filter_config_increment_counter)(envoy, id, labels, 1, by);
}

static uint64_t news(unsigned number)
{
    uint64_t sum = cw_counted(number), more = sum - told[number];
    told[number] = sum;
    return more;
}

void cw_stats_reset(void *envoy, const cw_stat_ids *ids, unsigned why)
{
    char line[96];
    snprintf(line, sizeof(line), "cellway edge: the owners' stream ended: %s", reset_names[why]);
    cw_log(CW_ENVOY_INFO, line);
    if (ids->defined)
        add(envoy, ids->resets, reset_names[why], 1);
}

static void flush_gauges(
    void *envoy, const cw_stat_ids *ids, const cw_stream *stream, bool connected
)
{
    const cw_map *map = cw_process_map();
    const cw_table *table = cw_map_table(map);
    uint64_t building = map->building != NULL ? cw_table_bytes(map->building) : 0;
    uint64_t values[CW_GAUGES] = {
        table != NULL ? cw_table_names(table) : 0,
        (table != NULL ? cw_table_bytes(table) : 0) + building,
        table != NULL ? atomic_load(&table->revision) : 0,
        cw_map_lag_ms(map, cw_now_ms()),
        stream->map != NULL ? cw_stream_source(stream) : 0,
        connected,
        atomic_load(&map->on),
    };
    for (unsigned at = 0; at < CW_GAUGES; at++)
        CW_ENVOY(http_filter_config_set_gauge)(envoy, ids->gauges[at], NULL, 0, values[at]);
}

void cw_stats_flush(void *envoy, const cw_stat_ids *ids, const cw_stream *stream, bool connected)
{
    if (!ids->defined)
        return;
    for (const cw_stat_name *one = cw_outcome_names; one->label != NULL; one++)
        add(envoy, ids->outcomes, one->label, news(one->counter));
    for (const cw_stat_name *one = cw_doubt_names; one->label != NULL; one++)
        add(envoy, ids->doubts, one->label, news(one->counter));
    for (unsigned rule = 0; rule < CW_RULES_COUNTED; rule++) {
        char label[8];
        uint64_t more = news(CW_COUNTED_RULE + rule);
        if (more == 0)
            continue;
        snprintf(label, sizeof(label), "%u", rule);
        add(envoy, ids->rules, label, more);
    }
    flush_gauges(envoy, ids, stream, connected);
}
