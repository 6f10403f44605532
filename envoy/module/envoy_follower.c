#include "envoy_follower.h"

#include <stdlib.h>
#include <string.h>

#include "envoy_process.h"
#include "envoy_registry.h"
#include "envoy_stats.h"

#define PATH "/cellway.edge.v1.Owners/Follow"
#define LOOK_MS 500    /* between two looks */
#define SILENT_LOOKS 4 /* eight beats. Looks, not time: while this thread is busy, it hears nothing */
#define FLUSH_MS 200
#define STATUS_MS 1000
#define FIRST_WAIT_MS 50
#define LONGEST_WAIT_MS 5000
#define HEALTHY_MS 5000 /* a stream that lived so long forgives earlier ones */

typedef enum { IDLE, STARTING, OPEN, BROKEN } state;

struct cw_follower {
    cw_member member;
    void *envoy;
    cw_stat_ids stats;
    uint64_t id; /* never 0, and never given twice: an address may be */
    state state;
    uint64_t stream; /* Envoy's number of it, while OPEN or BROKEN */
};

/* What goes on from one configuration to the next; the main thread's. */
static struct {
    cw_stream stream;
    uint64_t of; /* whose connection `stream` reads; 0: nobody's */
    unsigned failures, quiet_looks;
    uint64_t next_try, opened_at, flushed_at, told_at, random, ids;
} now_following;

cw_follower *cw_follower_new(void *envoy, cw_envoy_text text)
{
    cw_follower *follower = calloc(1, sizeof(*follower));
    if (follower == NULL)
        return NULL;
    follower->envoy = envoy;
    follower->member.scheduler = CW_ENVOY(http_filter_config_scheduler_new)(envoy);
    follower->id = ++now_following.ids;
    cw_stats_define(envoy, &follower->stats);
    if (!cw_settings_read(text.ptr, text.length, &follower->member.settings) ||
        !cw_registry_add(&follower->member)) {
        CW_ENVOY(http_filter_config_scheduler_delete)(follower->member.scheduler);
        free(follower);
        return NULL;
    }
    return follower;
}

/* On any thread. Envoy ends the stream by itself. */
void cw_follower_free(cw_follower *follower)
{
    if (cw_registry_remove(&follower->member))
        atomic_store(&cw_process_map()->on, false);
    CW_ENVOY(http_filter_config_scheduler_delete)(follower->member.scheduler);
    free(follower);
}

/* Half of the full wait, and a random part of the other half. */
static uint64_t next_wait(void)
{
    uint64_t wait = LONGEST_WAIT_MS;
    if (now_following.failures < 7)
        wait = (uint64_t)FIRST_WAIT_MS << now_following.failures;
    now_following.failures++;
    now_following.random = cw_siphash13((cw_key){cw_now_ms(), now_following.random}, PATH, 1);
    return wait / 2 + now_following.random % (wait / 2);
}

static void failed(cw_follower *follower, unsigned why)
{
    uint64_t now = cw_now_ms();
    cw_stats_reset(follower->envoy, &follower->stats, why);
    if (follower->state != BROKEN)
        follower->state = IDLE;
    if (now_following.of != follower->id)
        return;
    cw_stream_end(&now_following.stream);
    now_following.of = 0;
    if (now_following.opened_at != 0 && now - now_following.opened_at >= HEALTHY_MS)
        now_following.failures = 0;
    now_following.opened_at = 0;
    now_following.next_try = now + next_wait();
    cw_registry_wake_at(now_following.next_try);
}

/* Not inside of a call-back of the stream: Envoy is told to end it at the next look. */
static void break_off(cw_follower *follower, unsigned why)
{
    follower->state = BROKEN;
    failed(follower, why);
    cw_registry_wake_at(cw_now_ms());
}

static void connect_stream(cw_follower *follower)
{
    const cw_settings *settings = &follower->member.settings;
    uint8_t message[CW_MESSAGE_MAX];
    size_t cluster_len = strlen(settings->cluster);
    cw_envoy_header headers[] = {
        {":method", 7, "POST", 4},
        {":path", 5, PATH, strlen(PATH)},
        {":authority", 10, settings->cluster, cluster_len},
        {"content-type", 12, "application/grpc", 16},
        {"te", 2, "trailers", 8},
    };
    cw_stream_begin(&now_following.stream, cw_process_map(), settings->key);
    now_following.of = follower->id;
    now_following.quiet_looks = 0;
    size_t len = cw_stream_follow(&now_following.stream, settings->node, message);
    follower->state = STARTING;
    int result = CW_ENVOY(http_filter_config_start_http_stream)(
        follower->envoy, &follower->stream, (cw_envoy_text){settings->cluster, cluster_len},
        headers, sizeof(headers) / sizeof(*headers), (cw_envoy_text){(char *)message, len}, false, 0
    );
    if (result != CW_ENVOY_OK && follower->state == STARTING)
        failed(follower, CW_RESET_UNREACHABLE);
    else if (follower->state == STARTING)
        follower->state = OPEN;
}

static void stop(cw_follower *follower)
{
    if (follower->state == OPEN || follower->state == BROKEN) {
        follower->state = IDLE; /* first: Envoy may tell us of the end inside of this call */
        CW_ENVOY(http_filter_config_reset_http_stream)(follower->envoy, follower->stream);
    }
    if (now_following.of == follower->id) {
        cw_stream_end(&now_following.stream);
        now_following.of = 0;
        now_following.opened_at = 0;
    }
}

static void flush(cw_follower *follower, uint64_t now)
{
    if (now - now_following.flushed_at < FLUSH_MS && !now_following.stream.completed)
        return;
    now_following.flushed_at = now;
    bool connected = now_following.opened_at != 0;
    cw_stats_flush(follower->envoy, &follower->stats, &now_following.stream, connected);
    cw_sweep(&cw_process_map()->garbage);
}

void cw_follower_look(cw_follower *follower)
{
    uint64_t now = cw_now_ms();
    if (!cw_registry_leads(&follower->member)) {
        stop(follower);
        return;
    }
    bool has_key = follower->member.settings.has_key;
    cw_asking_set(&cw_process_map()->asking, follower->member.settings.ask);
    atomic_store(&cw_process_map()->on, has_key);
    if (!has_key || follower->state == BROKEN)
        stop(follower);
    if (!has_key)
        cw_map_clear(cw_process_map());
    if (now_following.of != 0 && now_following.of != follower->id) { /* its configuration is gone */
        cw_stream_end(&now_following.stream);
        now_following.of = 0;
        now_following.next_try = now;
    }
    if (follower->state == OPEN && ++now_following.quiet_looks > SILENT_LOOKS) {
        stop(follower);
        now_following.of = follower->id;
        failed(follower, CW_RESET_SILENT);
    }
    flush(follower, now);
    if (has_key && follower->state == IDLE && now >= now_following.next_try)
        connect_stream(follower);
    bool waits = has_key && follower->state == IDLE;
    cw_registry_wake_at(waits ? now_following.next_try : now + LOOK_MS);
}

static bool is_open(const cw_follower *follower, uint64_t stream)
{
    bool known = follower->state == STARTING || (follower->state == OPEN && follower->stream == stream);
    return known && now_following.of == follower->id;
}

void cw_follower_headers(
    cw_follower *follower, uint64_t stream, const cw_envoy_header *headers, size_t len
)
{
    if (!is_open(follower, stream))
        return;
    for (const cw_envoy_header *one = headers; one < headers + len; one++)
        if (one->key_length == 7 && memcmp(one->key, ":status", 7) == 0 &&
            (one->value_length != 3 || memcmp(one->value, "200", 3) != 0)) {
            follower->stream = stream;
            break_off(follower, CW_RESET_REFUSED);
            return;
        }
}

static void send_status(cw_follower *follower, uint64_t now)
{
    uint8_t message[CW_MESSAGE_MAX];
    const char *node = follower->member.settings.node;
    size_t len = cw_stream_status(&now_following.stream, node, now, message);
    now_following.told_at = now;
    CW_ENVOY(http_filter_config_stream_send_data)
    (follower->envoy, follower->stream, (cw_envoy_text){(char *)message, len}, false);
}

void cw_follower_data(
    cw_follower *follower, uint64_t stream, const cw_envoy_text *chunks, size_t len
)
{
    uint64_t now = cw_now_ms();
    cw_stream *reader = &now_following.stream;
    if (!is_open(follower, stream))
        return;
    follower->stream = stream;
    now_following.quiet_looks = 0;
    if (now_following.opened_at == 0)
        now_following.opened_at = now;
    for (size_t at = 0; at < len; at++) {
        cw_odd odd = cw_stream_feed(reader, (const uint8_t *)chunks[at].ptr, chunks[at].length, now);
        if (odd != CW_GOOD) {
            break_off(follower, odd);
            return;
        }
    }
    bool has_table = cw_map_table(reader->map) != NULL;
    flush(follower, now);
    if (has_table && (reader->completed || now - now_following.told_at >= STATUS_MS))
        send_status(follower, now);
}

void cw_follower_ended(cw_follower *follower, uint64_t stream)
{
    if (follower->state == BROKEN && follower->stream == stream)
        follower->state = IDLE;
    if (is_open(follower, stream))
        failed(follower, CW_RESET_ENDED);
}
