"""Measures Classify by claim over gRPC ÷ an empty grpc.aio unary call.

    python -m bench.classify [--rounds N] [--seconds S]

Each server has a process of its own with the same event loop, and gets the same load from here:
`IN_FLIGHT` calls at once over one channel, in rounds that alternate between the two. The database
is warm; its `TENANTS` claims are asked for in random order.

The benchmark compares calls per second of the server's processor time, which is what one process
gives at most. Calls per second of the clock, which are printed too, depend on what else uses the
machine, this client first.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import grpc

from bench.process import process, processor_seconds
from bench.results import Figure, report
from bench.topologies import NOWHERE, add_cells, add_tenants, opened
from control_plane.grpc_api.generated.classify_service_pb2 import ClassifyRequest
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.process.event_loop import run_loop, until_signal
from control_plane.server import running
from control_plane.settings import Settings

TENANTS = 20_000
CELLS = 10
IN_FLIGHT = 16
EMPTY = "/bench.Empty/Call"
CLASSIFY = "/gitlab.cells.topology_service.ClassifyService/Classify"


async def _answer(request: bytes, _: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


async def _empty(pipe: Connection, _: str) -> None:
    server = grpc.aio.server()
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(_answer)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Empty", handlers),)
    )
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


async def _classify(pipe: Connection, url: str) -> None:
    settings = Settings(database_url=url, roles=("topology",), grpc_port=0, health_interval_s=0)
    async with running(settings) as plane:
        pipe.send(plane.ports.grpc)
        await until_signal()


def _fill(url: str, names: list[str]) -> None:
    with opened(url) as topology:
        add_cells(topology, [NOWHERE] * CELLS)
        add_tenants(topology, "route", names, CELLS)


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own, and the method to call."""

    pid: int
    port: int
    method: str


@dataclass(frozen=True, slots=True)
class Speed:
    """Calls per second of the server's processor time, and of the clock."""

    of_processor: float
    of_clock: float


async def speed(server: Server, requests: Sequence[bytes], seconds: float) -> Speed:
    """Keep `IN_FLIGHT` calls under way for some seconds; raise on the first that fails."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        call = channel.unary_unary(server.method, _same, _same)
        await call(requests[0])
        done = 0
        end = time.perf_counter() + seconds

        async def client(first: int) -> None:
            nonlocal done
            at = first
            while time.perf_counter() < end:
                await call(requests[at % len(requests)])
                at += IN_FLIGHT
                done += 1

        started, used = time.perf_counter(), processor_seconds(server.pid)
        await asyncio.gather(*(client(number) for number in range(IN_FLIGHT)))
        used = processor_seconds(server.pid) - used
        return Speed(done / used, done / (time.perf_counter() - started))


def _same(message: bytes) -> bytes:
    return message


async def main(rounds: int, seconds: float) -> None:
    """Measure and report ``classify_vs_empty_unary``."""
    names = [f"group-{number}" for number in range(TENANTS)]
    random.Random(5).shuffle(names)
    requests = [ClassifyRequest(claims=[Claim(route=name)]).SerializeToString() for name in names]
    pairs: list[tuple[Speed, Speed]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder}/classify.db"
        await asyncio.to_thread(_fill, url, names)
        empty = Server(*stack.enter_context(process(_empty, url)), EMPTY)
        ours = Server(*stack.enter_context(process(_classify, url)), CLASSIFY)
        for server in (empty, ours):
            await speed(server, requests, seconds / 2)
        for _ in range(rounds):
            one = await speed(ours, requests, seconds)
            pairs.append((one, await speed(empty, requests, seconds)))
    clock = statistics.median(one.of_clock / base.of_clock for one, base in pairs)
    calls = statistics.median(one.of_clock for one, _ in pairs)
    print(f"classify: {calls:.0f} calls/s, by the clock {clock:.3f} of empty calls")
    ratio = statistics.median(one.of_processor / base.of_processor for one, base in pairs)
    baseline = "an empty grpc.aio unary call, per processor second"
    report({"classify_vs_empty_unary": Figure(ratio, "ratio", "higher", baseline, rounds)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    chosen = parser.parse_args()
    run_loop(main(chosen.rounds, chosen.seconds))
