/* Follows the owners' stream through the configuration of an HTTP filter, on Envoy's main thread. */
#ifndef CW_ENVOY_FOLLOWER_H
#define CW_ENVOY_FOLLOWER_H

#include "envoy_abi.h"

typedef struct cw_follower cw_follower;

/* A configuration with this text; NULL: it is malformed, or there is no memory or no thread. */
cw_follower *cw_follower_new(void *envoy, cw_envoy_text text);
void cw_follower_free(cw_follower *follower);

/* What Envoy tells it. */
void cw_follower_look(cw_follower *follower);
void cw_follower_headers(
    cw_follower *follower, uint64_t stream, const cw_envoy_header *headers, size_t len
);
void cw_follower_data(
    cw_follower *follower, uint64_t stream, const cw_envoy_text *chunks, size_t len
);
void cw_follower_ended(cw_follower *follower, uint64_t stream);

#endif
