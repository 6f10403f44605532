"""The edge's HttpConnectionManager in front of an echo upstream, as the admission tests run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.envoy_process import FREE_LOOPBACK_PORT

TYPE_PREFIX = "type.googleapis.com/"
HCM_TYPE = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER_TYPE = "envoy.extensions.filters.http.router.v3.Router"
HEADER_MUTATION_TYPE = (
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
)
EDGE_LISTENER = "edge"
MAX_REQUEST_HEADERS_KB = 60
NO_DELAY = "0s"


def connection_manager(
    cluster: str, *, before_router: Sequence[dict[str, Any]] = (), **overrides: Any
) -> dict[str, Any]:
    """Return the edge's HttpConnectionManager with all traffic to `cluster`; overrides replace
    fields.

    Admission is as `control_plane.compiler.listener` configures it. Connections that a refusal ends
    are closed at once, without the default delay, so that no test waits for it.
    """
    early_mutation = {
        "@type": TYPE_PREFIX + HEADER_MUTATION_TYPE,
        "mutations": [
            {"remove_on_match": {"key_matcher": {"prefix": "x-cellway-"}}},
            {"remove_on_match": {"key_matcher": {"exact": "x-envoy-auth-failure-mode-allowed"}}},
        ],
    }
    return {
        "@type": TYPE_PREFIX + HCM_TYPE,
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "max_request_headers_kb": MAX_REQUEST_HEADERS_KB,
        "server_header_transformation": "PASS_THROUGH",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "delayed_close_timeout": NO_DELAY,
        "early_header_mutation_extensions": [
            {"name": "strip-internal-headers", "typed_config": early_mutation}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
                }
            ]
        },
        "http_filters": [
            *before_router,
            {"name": "router", "typed_config": {"@type": TYPE_PREFIX + ROUTER_TYPE}},
        ],
        **overrides,
    }


def echo_bootstrap(upstream_port: int, **overrides: Any) -> dict[str, Any]:
    """Return a bootstrap of an edge on a free port that sends everything to `upstream_port`."""
    manager = {
        "name": "edge",
        "typed_config": connection_manager("upstream", **overrides),
    }
    upstream = {"socket_address": {"address": "127.0.0.1", "port_value": upstream_port}}
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": EDGE_LISTENER,
                    "address": FREE_LOOPBACK_PORT,
                    "filter_chains": [{"filters": [manager]}],
                }
            ],
            "clusters": [
                {
                    "name": "upstream",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "upstream",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": upstream}}]}],
                    },
                }
            ],
        }
    }
