"""What a real Envoy runs, read from its admin interface and compared with a compiled snapshot.

Clusters, listeners, routes and extension configs are compared as messages: Envoy prints them as
JSON, which is parsed and printed again in the same form as the published messages. Envoy keeps the
hosts of a cluster, not the message that named them, so endpoints are compared by address.
"""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from google.protobuf import json_format, symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, SDS
from control_plane.process.admin_address import AdminAddress
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.e2e import data_input_message
from tests.support.envoy_admin import sync_client

Key = tuple[str, str]
"""Type and name."""
Content = Mapping[str, Any]
ADMIN_TIMEOUT_S = 10.0
_LACKS = re.compile(r"type\.googleapis\.com/([\w.]+)")
_KNOWN = frozenset({data_input_message.PACKAGE})
"""Packages whose messages are known, although nothing can be imported."""
_SHORT = {CDS: "CDS", EDS: "EDS", LDS: "LDS", RDS: "RDS", ECDS: "ECDS"}


@dataclass(frozen=True, slots=True)
class EnvoyState:
    """The documents of the admin interface."""

    config_dump: Mapping[str, Any]
    clusters: Mapping[str, Any]

    @classmethod
    def read(cls, address: AdminAddress) -> EnvoyState:
        """Read the documents of a running Envoy."""
        with sync_client(address, ADMIN_TIMEOUT_S) as admin:
            return cls(
                admin.get("/config_dump?include_eds").json(),
                admin.get("/clusters?format=json").json(),
            )

    def unready(self) -> list[str]:
        """Return what Envoy has accepted but does not use yet: warming clusters and listeners."""
        warming = [
            f"CDS {one['cluster'].get('name')} is warming"
            for one in self._items("ClustersConfigDump", "dynamic_warming_clusters")
        ]
        return warming + [
            f"LDS {one['name']} is warming"
            for one in self._items("ListenersConfigDump", "dynamic_listeners")
            if "warming_state" in one
        ]

    def contents(self) -> dict[Key, Content]:
        """Return what runs of clusters, listeners, routes and extension configs, in one printed form."""
        contents: dict[Key, Content] = {}
        for one in self._items("ClustersConfigDump", "dynamic_active_clusters"):
            contents[CDS, one["cluster"]["name"]] = _printed_again(one["cluster"])
        for one in self._items("ListenersConfigDump", "dynamic_listeners"):
            if "active_state" in one:
                contents[LDS, one["name"]] = _printed_again(one["active_state"]["listener"])
        for one in self._items("RoutesConfigDump", "dynamic_route_configs"):
            contents[RDS, one["route_config"]["name"]] = _printed_again(one["route_config"])
        for one in self._items("EcdsConfigDump", "ecds_filters"):
            contents[ECDS, one["ecds_filter"]["name"]] = _printed_again(one["ecds_filter"])
        return contents

    def secrets(self) -> frozenset[str]:
        """Return the names of the secrets that came by xDS; what they hold is not dumped."""
        return frozenset(
            one["name"] for one in self._items("SecretsConfigDump", "dynamic_active_secrets")
        )

    def hosts(self) -> dict[str, frozenset[str]]:
        """Return the addresses of each cluster that came by xDS, as `/clusters` has them."""
        return {
            one["name"]: frozenset(_address(host) for host in one.get("host_statuses", ()))
            for one in self.clusters.get("cluster_statuses", ())
            if one.get("added_via_api")
        }

    def dumped_hosts(self) -> dict[str, frozenset[str]]:
        """Return the addresses of each cluster that came by xDS, as `/config_dump` has them."""
        return {
            one["endpoint_config"]["cluster_name"]: frozenset(
                _address(endpoint["endpoint"])
                for locality in one["endpoint_config"].get("endpoints", ())
                for endpoint in locality.get("lb_endpoints", ())
            )
            for one in self._items("EndpointsConfigDump", "dynamic_endpoint_configs")
        }

    def dead_hosts(self) -> Iterator[str]:
        """Yield the hosts that take no traffic or are being removed, with Envoy's word for it."""
        for one in self.clusters.get("cluster_statuses", ()):
            for host in one.get("host_statuses", ()):
                status = dict(host.get("health_status", {}))
                if status.pop("eds_health_status", "HEALTHY") != "HEALTHY" or status:
                    yield f"{one['name']} {_address(host)} is {host['health_status']}"

    def _items(self, section: str, field: str) -> Iterator[Mapping[str, Any]]:
        for config in self.config_dump.get("configs", ()):
            if config["@type"].endswith(f".{section}"):
                yield from config.get(field, ())


def differences(state: EnvoyState, snapshot: Snapshot, *, besides: Iterable[Key] = ()) -> list[str]:
    """Return each difference between what Envoy runs and the snapshot, except about ``besides``."""
    left_out = frozenset(besides)
    published = {
        (type_url, name): resource
        for type_url in snapshot.types
        for name, resource in snapshot.of_type(type_url).items()
    }
    runs = state.contents()
    different = state.unready()
    for key in sorted((published.keys() | runs.keys()) - left_out):
        if key[0] == EDS or (key[0] == SDS and key[1] in state.secrets()):
            continue
        if key not in runs:
            different.append(f"{_title(key)} is published, but Envoy lacks it")
        elif key not in published:
            different.append(f"{_title(key)} runs, but is not published")
        else:
            place = _first_difference(runs[key], content(published[key]))
            if place is not None:
                different.append(f"{_title(key)} differs: {place}")
    return different + list(_host_differences(state, snapshot, left_out)) + list(state.dead_hosts())


def _title(key: Key) -> str:
    return f"{_SHORT.get(key[0], key[0])} {key[1]}"


def _host_differences(
    state: EnvoyState, snapshot: Snapshot, left_out: frozenset[Key]
) -> Iterator[str]:
    expected = dict(_published_hosts(snapshot))
    for source, hosts in (("/clusters", state.hosts()), ("config_dump", state.dumped_hosts())):
        for name in sorted(expected.keys() | hosts.keys()):
            if (CDS, name) in left_out or (EDS, name) in left_out:
                continue
            wanted, there = expected.get(name), hosts.get(name, frozenset())
            if wanted is None:
                yield f"EDS {name} has {sorted(there)} by {source}, but is not published"
            elif not _same_hosts(wanted, there):
                yield f"EDS {name} has {sorted(there)} by {source}, not {sorted(wanted)}"


def _same_hosts(wanted: frozenset[str], there: frozenset[str]) -> bool:
    """Compare addresses; DNS names by port alone, since the resolver decides their addresses."""
    names = {host for host in wanted if not re.match(r"\[|[0-9.]+:", host)}
    if not names:
        return wanted == there
    return {_port(host) for host in wanted} == {_port(host) for host in there}


def _port(host: str) -> str:
    return host.rpartition(":")[2]


def _published_hosts(snapshot: Snapshot) -> Iterator[tuple[str, frozenset[str]]]:
    assignments = snapshot.of_type(EDS)
    for name, resource in snapshot.of_type(CDS).items():
        cluster = cluster_pb2.Cluster.FromString(resource.body)
        if cluster.type == cluster_pb2.Cluster.EDS:
            wanted = cluster.eds_cluster_config.service_name or name
            if wanted not in assignments:
                yield name, frozenset()
                continue
            body = assignments[wanted].body
            assignment = endpoint_pb2.ClusterLoadAssignment.FromString(body)
        else:
            assignment = cluster.load_assignment
        yield (
            name,
            frozenset(
                _host_port(socket.address, socket.port_value)
                for locality in assignment.endpoints
                for one in locality.lb_endpoints
                if (socket := one.endpoint.address.socket_address)
            ),
        )


def _address(host: Mapping[str, Any]) -> str:
    socket = host["address"].get("socket_address")
    if socket is None:
        return str(host["address"])
    return _host_port(socket["address"], socket["port_value"])


def _host_port(host: str, port: int) -> str:
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def content(resource: Resource) -> Content:
    """Return a published resource in the form of `EnvoyState.contents`."""
    packed = AnyMessage(type_url=resource.type_url, value=resource.body)
    return _printed(packed)


def _printed_again(document: Mapping[str, Any]) -> Content:
    def read() -> AnyMessage:
        return json_format.ParseDict(dict(document), AnyMessage())

    return _printed(_with_types(read))


def _printed(packed: AnyMessage) -> Content:
    printed: Content = _with_types(
        lambda: json_format.MessageToDict(packed, preserving_proto_field_name=True)
    )
    return printed


def _with_types[T](work: Callable[[], T]) -> T:
    """Do the work; import each message type that turns out to be unknown, and try again."""
    seen: set[str] = set()
    while True:
        try:
            return work()
        except (TypeError, json_format.ParseError) as error:
            lacking = _LACKS.search(str(error))
            if lacking is None or lacking[1] in seen:
                raise
            seen.add(lacking[1])
            _import_package(lacking[1].rpartition(".")[0])


def _import_package(package: str) -> None:
    """Import every module of a protobuf package, so that its messages are known."""
    if package in _KNOWN:
        return
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
    symbol_database.Default()


def _first_difference(there: Any, wanted: Any, at: str = "") -> str | None:
    """Return where two printed messages differ first; None if they are the same."""
    if there == wanted:
        return None
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in sorted(there.keys() | wanted.keys()):
            place = _first_difference(there.get(name), wanted.get(name), f"{at}.{name}")
            if place is not None:
                return place
    if isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for index, (one, other) in enumerate(zip(there, wanted, strict=True)):
            place = _first_difference(one, other, f"{at}[{index}]")
            if place is not None:
                return place
    return f"{at or 'all'} is {_short(there)}, not {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}…"
