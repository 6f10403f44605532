"""What the real Envoy runs of a response that it refuses, and that we know when we do not know it.

Envoy applies good clusters and listeners of a refused response, and removals; of other types, those
that it looks at before the bad one. A refused filter that is sent again is acknowledged unread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_pb2

# Registered for the JSON that names them.
from envoy.extensions.filters.http.lua.v3 import lua_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401

from control_plane.names import CDS, ECDS, EDS, LDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.support.certificates import Authority
from tests.support.envoy_process import EnvoyProcess
from tests.xds.envoy_world import (
    ADS,
    PROTOCOLS,
    TYPE,
    asked,
    bootstrap,
    parsed,
)
from tests.xds.grpc_world import endpoints
from tests.xds.server.wire import Wire, until

CURRENT_S = 8.0
RETRIED_S = 40.0
"""How long it may take until what was refused is tried again by itself."""
NAMES = tuple("abcdef")
"""So many that Envoy, whose order nobody knows, has some before the bad one and some after it."""

pytestmark = pytest.mark.parametrize("api_type", PROTOCOLS)


@asynccontextmanager
async def running(
    tmp_path: Path, api_type: str, *resources: Resource
) -> AsyncIterator[tuple[Wire, EnvoyProcess]]:
    """A server with a first revision, and an Envoy that runs it."""
    async with Wire(force_shrink=True) as wire:
        wire.cache.set(Snapshot(1, resources))
        asks = bootstrap(wire.port, api_type, clusters=ADS, listeners=ADS)
        async with EnvoyProcess(asks, tmp_path) as envoy:
            assert await wire.fleet.wait(1, CURRENT_S) == ()
            yield wire, envoy


async def refused(wire: Wire, revision: int) -> None:
    """Wait until the node has refused something; it is not taken for current then."""
    await until(lambda: [node.state for node in wire.fleet.nodes()] == ["NACKED"])
    assert await wire.fleet.wait(revision, 0.2) == (wire.fleet.nodes()[0].id,)


def cluster(name: str, timeout: str = "1s", **fields: Any) -> Resource:
    content = {"name": name, "type": "STATIC", "connect_timeout": timeout, **fields}
    return parsed(CDS, cluster_pb2.Cluster(), content)


def no_ca(name: str, path: str = "/nonexistent/ca.pem") -> Resource:
    """A cluster whose certificate authorities are not there."""
    context = {"validation_context": {"trusted_ca": {"filename": path}}}
    tls = f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"
    config = {"@type": tls, "common_tls_context": context}
    return cluster(name, transport_socket={"name": "tls", "typed_config": config})


def eds_cluster(name: str) -> Resource:
    return cluster(name, type="EDS", eds_cluster_config={"eds_config": ADS})


def script(name: str, code: str) -> Resource:
    lua = {
        "@type": f"{TYPE}.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": code},
    }
    content = {"name": name, "typed_config": lua}
    return parsed(ECDS, extension_pb2.TypedExtensionConfig(), content)


def tag(name: str, value: str) -> Resource:
    """A filter that says in a header of its own which version of it runs."""
    call = f'handle:headers():add("x-{name}", "{value}")'
    return script(name, f"function envoy_on_response(handle) {call} end")


def listener(*filters: str) -> Resource:
    """A listener that answers by itself, through these filters."""
    lua = f"{TYPE}.filters.http.lua.v3.Lua"
    found = [
        {"name": name, "config_discovery": {"config_source": ADS, "type_urls": [lua]}}
        for name in filters
    ]
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    host = {"name": "all", "domains": ["*"], "routes": [answer]}
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {"name": "inline", "virtual_hosts": [host]},
        "http_filters": [*found, router],
    }
    content = {
        "name": "edge",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return parsed(LDS, listener_pb2.Listener(), content)


def timeouts_of(envoy: EnvoyProcess) -> dict[str, str]:
    """Of each cluster that Envoy runs, the time-out that tells its versions apart."""
    dump = json.loads(envoy.admin("/config_dump?resource=dynamic_active_clusters")[1])
    return {
        one["cluster"]["name"]: one["cluster"]["connect_timeout"] for one in dump.get("configs", ())
    }


def ports_of(envoy: EnvoyProcess) -> dict[str, int]:
    lines = envoy.admin("/clusters")[1].splitlines()
    hosts = [line.split("::") for line in lines if line.endswith("::cx_active::0")]
    return {name: int(host.rpartition(":")[2]) for name, host, *_ in hosts if name != "xds"}


async def test_good_clusters_of_a_refused_response_are_not_forgotten(
    tmp_path: Path, api_type: str
) -> None:
    before = (cluster("a"), cluster("b"), cluster("c"), listener())
    async with running(tmp_path, api_type, *before) as (wire, envoy):
        partly = (cluster("a", "2s"), no_ca("bad"), cluster("d"), cluster("b"), listener())
        wire.cache.set(Snapshot(2, partly))
        await refused(wire, 2)
        wire.cache.set(Snapshot(3, before))
        assert await wire.fleet.wait(3, CURRENT_S) == ()
        assert await asyncio.to_thread(timeouts_of, envoy) == {"a": "1s", "b": "1s", "c": "1s"}
        (node,) = wire.fleet.nodes()
        assert (node.state, [status.error for status in node.types]) == ("SYNCED", [""] * 2)


async def test_a_bad_cluster_takes_no_good_one_away(tmp_path: Path, api_type: str) -> None:
    good = [cluster(name) for name in NAMES]
    async with Wire(force_shrink=True) as wire:
        wire.cache.set(Snapshot(1, [*good, no_ca("bad"), listener()]))
        asks = bootstrap(wire.port, api_type, clusters=ADS, listeners=ADS)
        async with EnvoyProcess(asks, tmp_path) as envoy:
            await refused(wire, 1)
            wire.cache.set(Snapshot(2, [*good, no_ca("bad"), cluster("new"), listener()]))
            await until(lambda: "new" in timeouts_of(envoy))
            assert timeouts_of(envoy).keys() == {*NAMES, "new"}
            mended = [*good, cluster("bad"), cluster("new"), listener()]
            wire.cache.set(Snapshot(3, mended))
            assert await wire.fleet.wait(3, CURRENT_S) == ()
            assert timeouts_of(envoy).keys() == {*NAMES, "new", "bad"}


async def test_endpoints_beside_refused_ones_are_not_forgotten(
    tmp_path: Path, api_type: str
) -> None:
    fixed = (*(eds_cluster(name) for name in NAMES), listener())
    before = [endpoints(1, name=name) for name in NAMES]
    async with running(tmp_path, api_type, *fixed, *before) as (wire, envoy):
        for number, bad in enumerate(NAMES):
            revision = 2 * number + 2
            moved = [endpoints(2, name=name) for name in NAMES if name != bad]
            hostname = endpoints(2, name=bad).body.replace(b"127.0.0.1", b"no.ip.too")
            wire.cache.set(Snapshot(revision, [*fixed, *moved, Resource.of(EDS, bad, hostname)]))
            await refused(wire, revision)
            wire.cache.set(Snapshot(revision + 1, [*fixed, *before]))
            assert await wire.fleet.wait(revision + 1, CURRENT_S) == ()
            assert await asyncio.to_thread(ports_of, envoy) == dict.fromkeys(NAMES, 1)


async def test_a_refused_filter_is_not_taken_for_running(tmp_path: Path, api_type: str) -> None:
    """Envoy acknowledges it when it comes again, without a look, and runs the one before."""
    names = NAMES[:3]
    before = [tag(name, "1") for name in names]
    async with running(tmp_path, api_type, listener(*names), *before) as (wire, envoy):
        for number, bad in enumerate(names):
            revision = 2 * number + 2
            moved = [tag(name, "2") for name in names if name != bad]
            wire.cache.set(
                Snapshot(revision, [listener(*names), *moved, script(bad, "function (")])
            )
            await refused(wire, revision)
            wire.cache.set(Snapshot(revision + 1, [listener(*names), *before]))
            assert await wire.fleet.wait(revision + 1, CURRENT_S) == ()
            headers = (await asyncio.to_thread(asked, envoy))[1]
            assert {name: headers[f"x-{name}"] for name in names} == dict.fromkeys(names, "1")


async def test_what_was_refused_for_a_passing_reason_is_tried_again(
    tmp_path: Path, api_type: str
) -> None:
    late = tmp_path / "ca.pem"
    parts = (cluster("a"), no_ca("late", str(late)), listener())
    async with running(tmp_path, api_type, cluster("a"), listener()) as (wire, envoy):
        wire.cache.set(Snapshot(2, parts))
        await refused(wire, 2)
        late.write_bytes(Authority().pem)
        async with asyncio.timeout(RETRIED_S):
            # While the refusal stands, a wait ends at once.
            while await wire.fleet.wait(2, RETRIED_S):
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(timeouts_of, envoy) == {"a": "1s", "late": "1s"}
