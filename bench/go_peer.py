"""Compares the edge map with a server in Go that the same Envoy asks: a map in memory, ext_authz.

    python -m bench.go_peer [--rounds N] [--seconds S]

The server (`bench/go_ext_authz`) is built with the Go that is installed; without one there is
nothing to compare with, and the benchmark says so. `go_ext_authz` is our requests per second ÷
those of the faster of its two protocols, and `go_ext_authz_http`, `go_ext_authz_grpc` are those
against each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.alternating import Target, ratios, rounds
from bench.edge_map import cases, load_of, pid, ready
from bench.load import scratch
from bench.results import report
from bench.world import bare_bootstrap, static_envoy, upstream, world
from control_plane.names import TYPE_URL
from control_plane.process.event_loop import run_loop
from tests.support.ports import unused_port

SOURCE = Path(__file__).parent / "go_ext_authz"
BUILD_S = 600.0
CELL = "x-cell"
TIMEOUT = "1s"
"""As long as the question may take; it takes a millisecond."""


def build(directory: Path) -> Path:
    """Build the server.

    Raises:
        RuntimeError: it can't be built; the message is Go's.
    """
    binary = directory / "go_ext_authz"
    command = ["go", "build", "-o", str(binary), "."]
    done = subprocess.run(
        command, cwd=SOURCE, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return binary


@contextlib.asynccontextmanager
async def _server(binary: Path, tenants: int, cells: int) -> AsyncIterator[tuple[int, int]]:
    """Run the server; yield its ports for HTTP and gRPC."""
    process = await asyncio.create_subprocess_exec(
        str(binary), str(tenants), str(cells), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        http, grpc = map(int, (await process.stdout.readline()).split())
        yield http, grpc
    finally:
        process.terminate()
        await process.wait()


def bootstrap(port: int, target: int, cells: int, asked: int, *, grpc: bool) -> dict[str, Any]:
    """Return an Envoy that asks for each request, and routes by the header of the answer."""
    document = bare_bootstrap(port, target)
    resources = document["static_resources"]
    (cell,) = resources["clusters"]
    resources["clusters"] = [
        *(_named(cell, f"cell-{number}", target) for number in range(1, cells + 1)),
        _named(cell, "owners", asked) | (_http2() if grpc else {}),
    ]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = {"match": {"prefix": "/"}, "route": {"cluster_header": CELL}}
    manager["route_config"]["virtual_hosts"][0]["routes"] = [route]
    manager["http_filters"].insert(0, {"name": "ext_authz", "typed_config": _ext_authz(grpc=grpc)})
    return document


def _named(cluster: dict[str, Any], name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return cluster | {"name": name, "load_assignment": assignment}


def _http2() -> dict[str, Any]:
    options = f"{TYPE_URL}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    protocol = {"@type": options, "explicit_http_config": {"http2_protocol_options": {}}}
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {name: protocol}}


def _ext_authz(*, grpc: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "@type": f"{TYPE_URL}envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "clear_route_cache": True,
    }
    if grpc:
        service = {"envoy_grpc": {"cluster_name": "owners"}, "timeout": TIMEOUT}
        return config | {"grpc_service": service}
    uri = {"uri": "http://owners", "cluster": "owners", "timeout": TIMEOUT}
    allowed = {"patterns": [{"exact": CELL}]}
    answer = {"allowed_upstream_headers": allowed}
    return config | {"http_service": {"server_uri": uri, "authorization_response": answer}}


async def main(number: int, seconds: float) -> None:
    """Measure and report."""
    case = cases()[0]
    directory = scratch()
    try:
        binary = await asyncio.to_thread(build, directory)
        with upstream() as target:
            async with contextlib.AsyncExitStack() as stack:
                enter = stack.enter_async_context
                asked = await enter(_server(binary, case.tenants, case.cells))
                targets: dict[str, Target] = {}
                for name, server in zip(("http", "grpc"), asked, strict=True):
                    port = unused_port()
                    grpc = name == "grpc"
                    document = bootstrap(port, target, case.cells, server, grpc=grpc)
                    envoy = await enter(static_envoy(document, directory / name))
                    targets[name] = Target(port, pid(envoy))
                edge = await enter(
                    world(
                        directory, target, case.cells, case.ruleset, case.tenants, edge_module="on"
                    )
                )
                await ready(case, edge)
                targets["edge"] = Target(edge.port, pid(edge.envoy))
                measured = await rounds(targets, partial(load_of, case), number, seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    against = {name: ratios(measured, "edge", name) for name in ("http", "grpc")}
    for name, ratio in against.items():
        report(ratio.figures(f"go_ext_authz_{name}", f"the same Envoy asking Go over {name}"))
    slowest = min(against.values(), key=lambda ratio: sum(ratio.speed))
    report(slowest.figures("go_ext_authz", "the same Envoy asking a map in Go"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    if shutil.which("go") is None:
        print("go_ext_authz: not measured, no Go is installed")
    else:
        run_loop(main(options.rounds, options.seconds))
