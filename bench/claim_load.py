"""Claims of 50 cells at a fixed rate, as GitLab's cells send them: how many calls are slow.

    python -m bench.claim_load [--rates 300,1000] [--seconds S] [--records N]

GitLab's clients give a claims call 300 ms. So what counts is the share of calls above 50 and 200 ms
while so many batches a second arrive: `claims_R_over_50ms` and `claims_R_over_200ms`, and
`claims_R_reached`, the batches a second that were committed. Each batch is a BeginUpdate and then
its CommitUpdate, over gRPC, from one of 50 cells with a connection each, to a control plane with
all its roles over a real PostgreSQL (fsync on).

The load is open: batches arrive when they are due (at random, as independent cells do), whether or
not the server has answered those before, and a Begin's time counts from when it was due. A call
that fails counts as slower than any bound. Load, server and database are processes of their own,
which share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import statistics
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import grpc

from bench.process import process, processor_seconds, serve_grpc
from bench.results import Figure, report
from bench.topologies import DURABLE, NOWHERE, add_cells, opened
from control_plane.grpc_api.generated.claims.v1 import messages_pb2, service_pb2
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.process.event_loop import run_loop
from tests.support.postgres import postgres

CELLS = 50
BOUNDS_MS = (50, 200)
RATES = (300, 1000)
"""Batches a second."""
WARM_UP_S = 2.0
LATE_S = 5.0
"""A call's deadline: far above any bound, so that slow calls are measured and not cut off."""
MAX_BATCHES = 50_000
_SERVICE = "/gitlab.cells.topology_service.claims.v1.ClaimService"


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: ``rate`` batches a second of ``records`` each, for ``seconds``."""

    port: int
    rate: float
    seconds: float
    records: int
    seed: int


@dataclass(slots=True)
class Outcome:
    """The seconds that each successful call took, and how many calls failed, by status."""

    begins: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    late_start: float = 0.0
    """By how much the load itself was late at most, which is not the server's fault."""
    took: float = 0.0

    def share_above(self, seconds: float) -> float:
        """Return the share of calls that were slower than this; a failed one counts as slower."""
        failed = sum(self.failed.values())
        calls = [*self.begins, *self.commits]
        return (failed + sum(took > seconds for took in calls)) / (failed + len(calls))


def arrivals(load: Load) -> list[float]:
    """Return when each batch is due, in seconds from the start: at random, and sorted."""
    count = round(load.rate * load.seconds)
    if count > MAX_BATCHES:
        raise ValueError(f"{count} batches; at most {MAX_BATCHES}: lower the rate or the seconds")
    choose = random.Random(load.seed)
    # Independent arrivals of which the number is known are evenly distributed.
    return sorted(choose.uniform(0, load.seconds) for _ in range(count))


def _begin(cell_id: int, records: int, number: int) -> bytes:
    creates = [
        messages_pb2.Metadata(
            claim=Claim(route=f"{uuid.uuid4().hex}-{at}"),
            subject=messages_pb2.Subject(type=messages_pb2.Subject.NAMESPACE, id=number + 1),
            source=messages_pb2.Source(
                type=messages_pb2.Source.RAILS_TABLE_ROUTES,
                rails_primary_key_id=(number * records + at).to_bytes(8, "big"),
            ),
        )
        for at in range(records)
    ]
    request = service_pb2.BeginUpdateRequest(create_records=creates, cell_id=cell_id)
    return request.SerializeToString()


def _same(message: bytes) -> bytes:
    return message


class _Cell:
    """A cell that sends updates over a connection of its own."""

    def __init__(self, cell_id: int, port: int) -> None:
        self._id = cell_id
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
        self._call_begin = self.channel.unary_unary(f"{_SERVICE}/BeginUpdate", _same, _same)
        self._call_commit = self.channel.unary_unary(f"{_SERVICE}/CommitUpdate", _same, _same)

    async def batch(self, request: bytes, due: float, outcome: Outcome) -> None:
        """Begin an update and commit it."""
        outcome.late_start = max(outcome.late_start, time.perf_counter() - due)
        try:
            answer = await self._call_begin(request, timeout=LATE_S)
            begun = time.perf_counter()
            outcome.begins.append(begun - due)
            lease = service_pb2.BeginUpdateResponse.FromString(answer).lease_uuid
            commit = service_pb2.CommitUpdateRequest(cell_id=self._id, lease_uuid=lease)
            await self._call_commit(commit.SerializeToString(), timeout=LATE_S)
            outcome.commits.append(time.perf_counter() - begun)
        except grpc.aio.AioRpcError as error:
            name = error.code().name
            outcome.failed[name] = outcome.failed.get(name, 0) + 1


async def _send(load: Load) -> Outcome:
    cells = [_Cell(number, load.port) for number in range(1, CELLS + 1)]
    await asyncio.gather(*(cell.channel.channel_ready() for cell in cells))
    requests = [
        (due, number % CELLS, _begin(number % CELLS + 1, load.records, number))
        for number, due in enumerate(arrivals(load))
    ]
    outcome = Outcome()
    started = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for due, at, request in requests:
            pause = started + due - time.perf_counter()
            # Sleeping lets answers in, even if the load is behind its plan.
            await asyncio.sleep(max(0.0, pause))
            group.create_task(cells[at].batch(request, started + due, outcome))
    outcome.took = time.perf_counter() - started
    for cell in cells:
        await cell.channel.close(None)
    return outcome


def _sent(load: Load) -> Outcome:
    return run_loop(_send(load))


def _fill(url: str) -> None:
    with opened(url) as topology:
        add_cells(topology, [NOWHERE] * CELLS)


def measure(url: str, rate: float, seconds: float, records: int) -> dict[str, Figure]:
    """Measure one rate, against a server of its own."""
    context = multiprocessing.get_context("spawn")
    with process(serve_grpc, url) as (pid, port), ProcessPoolExecutor(1, context) as pool:
        pool.submit(_sent, Load(port, rate, WARM_UP_S, records, seed=1)).result()
        used = processor_seconds(pid)
        outcome = pool.submit(_sent, Load(port, rate, seconds, records, seed=2)).result()
        used = processor_seconds(pid) - used
    reached = len(outcome.commits) / outcome.took
    _print(rate, outcome, used)
    base = f"claims_{rate:.0f}"
    figures = {f"{base}_reached": Figure(reached, "1/s", "higher", "", 1)}
    for bound in BOUNDS_MS:
        share = outcome.share_above(bound / 1000)
        figures[f"{base}_over_{bound}ms"] = Figure(share, "share", "lower", "", 1)
    return figures


def _print(rate: float, outcome: Outcome, used: float) -> None:
    def shown(name: str, times: Sequence[float]) -> str:
        if len(times) < 2:
            return f"{name} {len(times)} calls"
        cuts = statistics.quantiles(times, n=1000)
        p50, p99, p999 = (1000 * cuts[at] for at in (499, 989, 998))
        return f"{name} p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f} ms"

    print(
        f"{rate:.0f} batches/s: {shown('begin', outcome.begins)};"
        f" {shown('commit', outcome.commits)}; failed {outcome.failed or 0};"
        f" server's CPU {used / outcome.took:.2f};"
        f" the load started late by {outcome.late_start * 1000:.0f} ms at most"
    )


def main(*, rates: Sequence[float] = RATES, seconds: float = 10.0, records: int = 10) -> None:
    """Measure each rate, each on a fresh database, and report."""
    with postgres(DURABLE) as server:
        for rate in rates:
            with server.database(f"load{rate:.0f}") as url:
                _fill(url)
                report(measure(url, rate, seconds, records))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--records", type=int, default=10)
    options = parser.parse_args()
    main(
        rates=[float(rate) for rate in options.rates.split(",")],
        seconds=options.seconds,
        records=options.records,
    )
