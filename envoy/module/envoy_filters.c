/* What Envoy calls: the two HTTP filters of the module, by the name in their configuration.
 *
 *     owners   follows the owners' stream
 *     epochs   its text (epochs.h) says which answers are void
 *
 * Both are disabled for requests. Their configurations act when they are made and when they go.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "envoy_abi.h"
#include "envoy_follower.h"
#include "envoy_process.h"

typedef struct {
    cw_follower *follower; /* NULL: the configuration holds epochs */
} cw_filter_config;

static cw_map map;
static pthread_once_t begun = PTHREAD_ONCE_INIT;
static atomic_uint with_epochs; /* configurations that hold epochs */

static void begin(void)
{
    cw_map_init(&map);
}

cw_map *cw_process_map(void)
{
    pthread_once(&begun, begin);
    return &map;
}

void cw_log(int level, const char *text)
{
    CW_ENVOY(log)(level, (cw_envoy_text){text, strlen(text)});
}

#pragma GCC visibility push(default) /* hooks: Envoy finds them by their names */

const char *envoy_dynamic_module_on_program_init(void);

const char *envoy_dynamic_module_on_program_init(void)
{
    cw_process_map();
    return CW_ENVOY_ABI;
}

static bool is_named(cw_envoy_text name, const char *wanted)
{
    return name.length == strlen(wanted) && memcmp(name.ptr, wanted, name.length) == 0;
}

static bool take_epochs(cw_envoy_text text)
{
    if (!cw_epochs_set(&cw_process_map()->epochs, text.ptr, text.length)) {
        cw_log(CW_ENVOY_WARN, "cellway edge: the text of the epochs is malformed");
        return false;
    }
    atomic_fetch_add(&with_epochs, 1);
    return true;
}

#define ON(name) envoy_dynamic_module_on_http_filter_##name

const void *ON(config_new)(void *envoy, cw_envoy_text name, cw_envoy_text text);
void ON(config_destroy)(cw_filter_config *config);
void ON(config_scheduled)(void *envoy, cw_filter_config *config, uint64_t event);
void ON(config_http_stream_headers)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_header *headers,
    size_t len, bool ends
);
void ON(config_http_stream_data)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_text *chunks, size_t len,
    bool ends
);
void ON(config_http_stream_trailers)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_header *headers, size_t len
);
void ON(config_http_stream_complete)(void *envoy, cw_filter_config *config, uint64_t stream);
void ON(config_http_stream_reset)(void *envoy, cw_filter_config *config, uint64_t stream, int why);

const void *ON(config_new)(void *envoy, cw_envoy_text name, cw_envoy_text text)
{
    cw_filter_config *config = calloc(1, sizeof(*config));
    bool works = config != NULL;
    if (works && is_named(name, "owners")) {
        config->follower = cw_follower_new(envoy, text);
        works = config->follower != NULL;
    } else if (works) {
        works = is_named(name, "epochs") && take_epochs(text);
    }
    if (works)
        return config;
    free(config);
    return NULL; /* Envoy refuses the configuration */
}

void ON(config_destroy)(cw_filter_config *config)
{
    if (config->follower != NULL)
        cw_follower_free(config->follower);
    else if (atomic_fetch_sub(&with_epochs, 1) == 1)
        cw_epochs_off(&cw_process_map()->epochs);
    free(config);
}

void ON(config_scheduled)(void *envoy, cw_filter_config *config, uint64_t event)
{
    (void)envoy, (void)event;
    if (config->follower != NULL)
        cw_follower_look(config->follower);
}

void ON(config_http_stream_headers)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_header *headers,
    size_t len, bool ends
)
{
    (void)envoy, (void)ends; /* a stream that ends is told of by …_complete */
    if (config->follower != NULL)
        cw_follower_headers(config->follower, stream, headers, len);
}

void ON(config_http_stream_data)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_text *chunks, size_t len,
    bool ends
)
{
    (void)envoy, (void)ends;
    if (config->follower != NULL)
        cw_follower_data(config->follower, stream, chunks, len);
}

void ON(config_http_stream_trailers)(
    void *envoy, cw_filter_config *config, uint64_t stream, const cw_envoy_header *headers, size_t len
)
{
    (void)envoy, (void)config, (void)stream, (void)headers, (void)len;
}

void ON(config_http_stream_complete)(void *envoy, cw_filter_config *config, uint64_t stream)
{
    (void)envoy;
    if (config->follower != NULL)
        cw_follower_ended(config->follower, stream);
}

void ON(config_http_stream_reset)(void *envoy, cw_filter_config *config, uint64_t stream, int why)
{
    (void)envoy, (void)why;
    if (config->follower != NULL)
        cw_follower_ended(config->follower, stream);
}
