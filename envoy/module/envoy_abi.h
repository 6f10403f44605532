/* What this module uses of Envoy's interface for dynamic modules, as Envoy 1.40 has it.
 *
 * Names and types are Envoy's; docs/adr/0067 says which releases they were tried with. Functions
 * that begin with envoy_dynamic_module_callback_ are Envoy's, those with envoy_dynamic_module_on_
 * are ours. A buffer of Envoy's is valid until the call that it came with ends.
 */
#ifndef CW_ENVOY_ABI_H
#define CW_ENVOY_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CW_ENVOY_ABI "v0.2.0"

typedef struct {
    const char *ptr;
    size_t length;
} cw_envoy_text;

typedef struct {
    const char *key;
    size_t key_length;
    const char *value;
    size_t value_length;
} cw_envoy_header;

enum { CW_ENVOY_REQUEST_HEADERS = 0 };
enum { CW_ENVOY_OK = 0 };       /* of a metric, and of a stream that was started */
enum { CW_ENVOY_CONTINUE = 0 }; /* of every hook that a filter may stop at */
enum { CW_ENVOY_INFO = 2, CW_ENVOY_WARN = 3 };

#define CW_ENVOY(name) envoy_dynamic_module_callback_##name

void CW_ENVOY(log)(int level, cw_envoy_text text);

bool CW_ENVOY(matcher_data_input_get_header_value)(
    void *input, int type, cw_envoy_text name, cw_envoy_text *value, size_t index, size_t *count
);
void CW_ENVOY(matcher_data_input_set_result)(void *input, cw_envoy_text result);

int CW_ENVOY(http_filter_config_define_counter)(
    void *config, cw_envoy_text name, cw_envoy_text *labels, size_t labels_len, size_t *id
);
int CW_ENVOY(http_filter_config_increment_counter)(
    void *config, size_t id, cw_envoy_text *labels, size_t labels_len, uint64_t by
);
int CW_ENVOY(http_filter_config_define_gauge)(
    void *config, cw_envoy_text name, cw_envoy_text *labels, size_t labels_len, size_t *id
);
int CW_ENVOY(http_filter_config_set_gauge)(
    void *config, size_t id, cw_envoy_text *labels, size_t labels_len, uint64_t value
);

int CW_ENVOY(http_filter_config_start_http_stream)(
    void *config, uint64_t *stream, cw_envoy_text cluster, cw_envoy_header *headers,
    size_t headers_len, cw_envoy_text body, bool ends, uint64_t timeout_ms
);
bool CW_ENVOY(http_filter_config_stream_send_data)(
    void *config, uint64_t stream, cw_envoy_text data, bool ends
);
void CW_ENVOY(http_filter_config_reset_http_stream)(void *config, uint64_t stream);

/* A scheduler takes an event to the main thread, from any thread. */
void *CW_ENVOY(http_filter_config_scheduler_new)(void *config);
void CW_ENVOY(http_filter_config_scheduler_delete)(void *scheduler);
void CW_ENVOY(http_filter_config_scheduler_commit)(void *scheduler, uint64_t event);

#endif
