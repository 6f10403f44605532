/* Hooks that a module with HTTP filters must have. The filters are disabled, so none of them is
 * called; if somebody enables one, each request passes through it untouched. */
#include <stdint.h>

#include "envoy_abi.h"

#pragma GCC visibility push(default) /* hooks: Envoy finds them by their names */
#define ON(name) envoy_dynamic_module_on_http_filter_##name
#define CONTINUES(name, ...)         \
    int ON(name)(__VA_ARGS__); \
    int ON(name)(__VA_ARGS__)          \
    {                                  \
        return CW_ENVOY_CONTINUE;      \
    }
#define IGNORES(name, ...)            \
    void ON(name)(__VA_ARGS__); \
    void ON(name)(__VA_ARGS__)          \
    {                                   \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"

const void *ON(new)(const void *config, void *envoy);

const void *ON(new)(const void *config, void *envoy)
{
    return config; /* anything but NULL */
}

CONTINUES(request_headers, void *envoy, const void *filter, bool ends)
CONTINUES(request_body, void *envoy, const void *filter, bool ends)
CONTINUES(request_trailers, void *envoy, const void *filter)
CONTINUES(response_headers, void *envoy, const void *filter, bool ends)
CONTINUES(response_body, void *envoy, const void *filter, bool ends)
CONTINUES(response_trailers, void *envoy, const void *filter)
CONTINUES(local_reply, void *envoy, const void *filter, uint32_t code, cw_envoy_text text, bool reset)
IGNORES(stream_complete, void *envoy, const void *filter)
IGNORES(destroy, const void *filter)
IGNORES(scheduled, void *envoy, const void *filter, uint64_t event)
IGNORES(downstream_above_write_buffer_high_watermark, void *envoy, const void *filter)
IGNORES(downstream_below_write_buffer_low_watermark, void *envoy, const void *filter)
IGNORES(
    http_callout_done, void *envoy, const void *filter, uint64_t callout, int result,
    cw_envoy_header *headers, size_t headers_len, cw_envoy_text *body, size_t body_len
)
IGNORES(
    http_stream_headers, void *envoy, const void *filter, uint64_t stream, cw_envoy_header *headers,
    size_t len, bool ends
)
IGNORES(
    http_stream_data, void *envoy, const void *filter, uint64_t stream, const cw_envoy_text *chunks,
    size_t len, bool ends
)
IGNORES(
    http_stream_trailers, void *envoy, const void *filter, uint64_t stream, cw_envoy_header *headers,
    size_t len
)
IGNORES(http_stream_complete, void *envoy, const void *filter, uint64_t stream)
IGNORES(http_stream_reset, void *envoy, const void *filter, uint64_t stream, int why)
IGNORES(
    config_http_callout_done, void *envoy, const void *config, uint64_t callout, int result,
    cw_envoy_header *headers, size_t headers_len, cw_envoy_text *body, size_t body_len
)
