"""Measures what the edge map's decisions cost ÷ a bare Envoy, and ÷ our listener without any.

    python -m bench.edge_map [--rounds N] [--seconds S] [CASE ...]

Each case has Envoys of its own: a bare one, and the edge with the module. Where a name is known to
the map, the classifier must not be asked, and about names of nobody no more often than the setting
says: a case in which it is asked more reports nothing and fails.
Ratios are of requests per second and, with `_cpu`, of Envoy's processor time per request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.alternating import Target, ratios, rounds
from bench.load import Load, count, scratch
from bench.results import report
from bench.world import World, bare_bootstrap, static_envoy, upstream, world
from control_plane.compiler.model import TrafficPolicy
from control_plane.process.envoy import Envoy
from control_plane.process.envoy_admin import EnvoyAdmin
from control_plane.process.event_loop import run_loop
from control_plane.routing.tokens import encode_routable_token
from tests.support.ports import unused_port

TENANTS = 200_000
"""Names in the map; each request of a round is for another one."""
SLICES = 10
"""Rounds after which the names come again from the first."""
READY_S = 120.0
"""How long the map may take until it answers."""
PROBED = 200
"""Names that must be answered without a question before a case begins."""
ASKED = "cluster.cellway:classifier.upstream_rq_total"
"""Envoy's counter of questions to the classifier."""
MOST_ASKED = 0.001
"""The largest share of requests that may ask; the names that are new since the last heartbeat."""
MOST_UNKNOWN_ASKED = TrafficPolicy().map_unknown_asked
"""How many questions a second there may be about names of nobody; one second's are saved up."""
SESSION = (("cookie", "a=b; _gitlab_session=cell-7-5f2b9c3d"),)
TOKEN = (("private-token", encode_routable_token("glpat-", {"c": 7, "o": 1}, bytes(range(16)))),)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of decision."""

    name: str
    ruleset: str
    cells: int = 10
    paths: tuple[str, ...] = ("/x",)
    headers: tuple[tuple[str, str], ...] = ()
    tenants: int = 0
    unknown: bool = False
    """Whether nobody has the names."""
    undecided: bool = False
    """Whether our listener without a decision is measured, too."""


def cases() -> Sequence[Case]:
    """Return what is measured."""
    choose = random.Random(5)
    known = [f"/t/tenant-{number}/x" for number in range(TENANTS)]
    unknown = [f"/t/nobody-{choose.getrandbits(64):x}/x" for _ in range(TENANTS)]
    choose.shuffle(known)
    return (
        Case("edge_map_unseen", "generic", 10, tuple(known), (), TENANTS, undecided=True),
        Case("edge_map_unknown", "tenant_or_any", 10, tuple(unknown), (), TENANTS, unknown=True),
        Case("edge_map_token", "gitlab", headers=TOKEN),
        *(
            Case(f"session_{cells}_cells", "session_prefix", cells, headers=SESSION)
            for cells in (10, 1000, 10_000)
        ),
    )


async def measure(case: Case, number: int, seconds: float) -> None:
    """Measure and report one case.

    Raises:
        RuntimeError: the classifier was asked too often.
    """
    directory = scratch()
    try:
        with upstream() as target:
            async with _envoys(case, target, directory) as (targets, edge):
                await ready(case, edge)
                before, began = await _asked(edge), time.monotonic()
                warm = replace(load_of(case, 0), port=edge.port)
                await asyncio.to_thread(count, warm, 1.0)
                measured = await rounds(targets, partial(load_of, case), number, seconds)
                questions = await _asked(edge) - before
                took_s = time.monotonic() - began
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    answered = sum(one["edge"].per_second * seconds for one in measured)
    if questions > answered * MOST_ASKED + _most_unknown(case, 1 + took_s):
        raise RuntimeError(f"{questions} of about {answered:.0f} requests asked the classifier")
    report(ratios(measured, "edge", "bare").figures(case.name, "bare Envoy"))
    if case.undecided:
        name = f"{case.name}_vs_undecided"
        report(ratios(measured, "edge", "undecided").figures(name, "our listener, no decision"))


@contextlib.asynccontextmanager
async def _envoys(
    case: Case, target: int, directory: Path
) -> AsyncIterator[tuple[Mapping[str, Target], World]]:
    """Run the Envoys of a case; yield them by name, the baseline first, and the edge's world."""
    port = unused_port()
    on: dict[str, Any] = {"edge_module": "on"}
    async with contextlib.AsyncExitStack() as stack:
        bare = await stack.enter_async_context(
            static_envoy(bare_bootstrap(port, target), directory / "bare")
        )
        targets = {"bare": Target(port, pid(bare))}
        if case.undecided:
            other = await stack.enter_async_context(
                world(_room(directory, "undecided"), target, case.cells, "undecided", **on)
            )
            targets["undecided"] = Target(other.port, pid(other.envoy))
        edge = await stack.enter_async_context(
            world(_room(directory, "edge"), target, case.cells, case.ruleset, case.tenants, **on)
        )
        yield targets | {"edge": Target(edge.port, pid(edge.envoy))}, edge


def _room(directory: Path, name: str) -> Path:
    room = directory / name
    room.mkdir()
    return room


def pid(envoy: Envoy) -> int:
    """Return the process id of an Envoy that was started here."""
    assert envoy.process is not None
    return envoy.process.pid


def load_of(case: Case, at: int) -> Load:
    """Return the load of a round: it begins with other names than the last one."""
    cut = at * len(case.paths) // SLICES % len(case.paths)
    return Load(0, case.paths[cut:] + case.paths[:cut], case.headers)


def _most_unknown(case: Case, seconds: float) -> float:
    """Return how many questions about names of nobody there may be in so many seconds."""
    return MOST_UNKNOWN_ASKED * seconds if case.unknown else 0.0


async def _asked(edge: World) -> int:
    return await EnvoyAdmin(edge.admin).counter(ASKED)


async def ready(case: Case, edge: World) -> None:
    """Wait until the edge asks no more than it may, in requests for `PROBED` names.

    Raises:
        RuntimeError: it goes on asking.
    """
    paths = tuple(case.paths[:: max(1, len(case.paths) // PROBED)])
    try:
        async with asyncio.timeout(READY_S):
            while True:
                before, began = await _asked(edge), time.monotonic()
                load = Load(edge.port, paths, case.headers)
                await asyncio.to_thread(count, load, 0.2)
                questions = await _asked(edge) - before
                if questions <= _most_unknown(case, time.monotonic() - began):
                    return
    except TimeoutError:
        raise RuntimeError(f"the edge still asks after {READY_S:g} s") from None


async def main(names: Sequence[str], number: int, seconds: float) -> None:
    """Measure and report case by case.

    Raises:
        RuntimeError: a case could not be measured; the others are.
    """
    broken: list[str] = []
    for case in cases():
        if names and case.name not in names:
            continue
        try:
            await measure(case, number, seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases are to run
            broken.append(f"{case.name}: {error!r}")
    if broken:
        raise RuntimeError("\n".join(broken))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", help="only these cases")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    run_loop(main(options.case, options.rounds, options.seconds))
