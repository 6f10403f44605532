"""A real Envoy with the module: listeners and epochs come from files that a test replaces."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from control_plane.edge_module.build import build
from tests.support.conditions import wait_until
from tests.support.edge_bootstrap import HCM_TYPE, ROUTER_TYPE, TYPE_PREFIX
from tests.support.envoy_process import EnvoyProcess
from tests.support.ports import unused_port

MODULE = "cellway_edge_v1"
FILTER = "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
INPUT = "envoy.extensions.matching.http.dynamic_modules.v3.DynamicModuleDataInput"
STREAM_CLUSTER = "xds"
DRAIN_AT_ONCE = ("--drain-time-s", "0", "--drain-strategy", "immediate")
"""A listener that is replaced goes with its connections."""


def text(value: str) -> dict[str, Any]:
    return {"@type": f"{TYPE_PREFIX}google.protobuf.StringValue", "value": value}


def module_filter(name: str, config: str, module: str = MODULE) -> dict[str, Any]:
    return {
        "@type": TYPE_PREFIX + FILTER,
        "dynamic_module_config": {"name": module},
        "filter_name": name,
        "filter_config": text(config),
    }


def reply(body: str) -> dict[str, Any]:
    """Return a matcher's action that answers with a text."""
    route = {
        "@type": f"{TYPE_PREFIX}envoy.config.route.v3.Route",
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": body}},
    }
    return {"action": {"name": "route", "typed_config": route}}


def matcher(program: bytes, answers: Sequence[str], module: str = MODULE) -> dict[str, Any]:
    """Return a matcher that replies with the program's answer, or with "asked"."""
    value = {"@type": f"{TYPE_PREFIX}google.protobuf.BytesValue"}
    config = {
        "@type": TYPE_PREFIX + INPUT,
        "dynamic_module_config": {"name": module},
        "input_name": "decide",
        "input_config": value | {"value": b64encode(program).decode()},
    }
    name = "envoy.matching.inputs.dynamic_module_string_data_input"
    tree = {
        "input": {"name": name, "typed_config": config},
        "exact_match_map": {"map": {answer: reply(answer) for answer in answers}},
    }
    return {"matcher_tree": tree, "on_no_match": reply("asked")}


class Edge(EnvoyProcess):
    """An Envoy whose listener "edge" decides by the module."""

    def __init__(
        self,
        directory: Path,
        owners_port: int,
        routes: Mapping[str, Any],
        *,
        workers: int = 1,
        module: Path | None = None,
        log_level: str = "warning",
    ) -> None:
        self.port = unused_port()
        self._directory = directory
        self.routes = routes
        self.module_name = MODULE
        self._module = module or build()
        super().__init__(
            self._bootstrap(owners_port),
            directory,
            concurrency=workers,
            log_level=log_level,
            arguments=DRAIN_AT_ONCE,
        )

    def options(self) -> dict[str, Any]:
        path = {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(self._module.parent)}
        return {"env": os.environ | path}

    def _bootstrap(self, owners_port: int) -> dict[str, Any]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": owners_port}}
        http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        options: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
        cluster = {
            "name": STREAM_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {http: {"@type": TYPE_PREFIX + http} | options},
            "load_assignment": {
                "cluster_name": STREAM_CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        return {
            "node": {"id": "edge-1", "cluster": "edges"},
            "static_resources": {"clusters": [cluster]},
            "dynamic_resources": {
                "lds_config": {"path_config_source": {"path": str(self._file("listeners"))}}
            },
        }

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _write(self, name: str, resources: Sequence[dict[str, Any]], version: str = "") -> None:
        """Replace a file of resources as Envoy wants it: by a move."""
        made = self._file(f"{name}.new")
        made.write_text(json.dumps({"version_info": version, "resources": resources}))
        made.replace(self._file(name))

    def set_epochs(self, epochs: str) -> None:
        resource = {
            "@type": f"{TYPE_PREFIX}envoy.config.core.v3.TypedExtensionConfig",
            "name": "cellway.map_epochs",
            "typed_config": module_filter("epochs", epochs, self.module_name),
        }
        self._write("epochs", [resource])

    def set_listeners(self, *configs: str) -> None:
        """Have as many listeners as there are configurations of the filter `owners`."""
        self._write("listeners", [self._listener(*one) for one in enumerate(configs)])

    def _listener(self, number: int, config: str) -> dict[str, Any]:
        epochs = {
            "config_source": {"path_config_source": {"path": str(self._file("epochs"))}},
            "type_urls": [TYPE_PREFIX + FILTER],
        }
        owners = {"name": "cellway.owners", "disabled": True}
        router = {"name": "router", "typed_config": {"@type": TYPE_PREFIX + ROUTER_TYPE}}
        filters = [
            owners | {"typed_config": module_filter("owners", config, self.module_name)},
            {"name": "cellway.map_epochs", "disabled": True, "config_discovery": epochs},
            router,
        ]
        hosts = [{"name": "all", "domains": ["*"], "matcher": self.routes}]
        manager = {
            "@type": TYPE_PREFIX + HCM_TYPE,
            "stat_prefix": "edge",
            "route_config": {"virtual_hosts": hosts},
            "http_filters": filters,
        }
        port = self.port if number == 0 else 0
        return {
            "@type": f"{TYPE_PREFIX}envoy.config.listener.v3.Listener",
            "name": "edge" if number == 0 else f"edge-{number}",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
        }

    def answer(self, path: str) -> str:
        """Return the body of the answer to a request."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False).text

    def answers(self, path: str, expected: str) -> None:
        """Wait until a request is answered so."""
        wait_until(lambda: self.answer(path) == expected)

    def has_rejected(self, times: int) -> bool:
        """Tell whether Envoy has refused the file of listeners so often."""
        stat = "listener_manager.lds.update_rejected"
        return self.stats(f"{stat}$")[stat] == times

    def stat(self, name: str) -> int:
        """Return one of the module's stats; 0 if it was never set."""
        full = f"dynamicmodulescustom.cellway_edge_{name}"
        return self.stats(full.replace(".", "[.]") + "$").get(full, 0)
