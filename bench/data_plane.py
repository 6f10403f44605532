"""Measures requests per second through each tier ÷ a bare Envoy, in the same run.

    python -m bench.data_plane [--rounds N] [--seconds S]

Rounds alternate between the two, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.load import Load, scratch, send
from bench.results import Figure, report
from bench.world import bare_envoy, cellway, upstream
from control_plane.process.event_loop import run_loop

TENANTS = 20_000
HOT = 500
SESSION = (("cookie", "a=b; _gitlab_session=cell-7-5f2b9c3d"),)


@dataclass(frozen=True, slots=True)
class Case:
    """One tier at one size."""

    name: str
    cells: int
    ruleset: str
    paths: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    tenants: int = 0
    protocol: str = "http"
    edge_cache_entries: int = 50_000


def cases() -> Sequence[Case]:
    """Return what is measured."""
    choose = random.Random(3)
    tenants = [f"/t/tenant-{number}/x" for number in range(TENANTS)]
    choose.shuffle(tenants)
    hot = tuple(tenants[:HOT])
    # A cache of two entries holds no key until it is asked for again.
    tiny = 2
    return (
        Case("native_10_cells", 10, "session_prefix", ("/x",), SESSION),
        Case("native_1000_cells", 1000, "session_prefix", ("/x",), SESSION),
        Case("edge_cache_hit", 10, "generic", hot, tenants=TENANTS),
        Case("classifier_miss", 10, "generic", tuple(tenants), (), TENANTS, "http", tiny),
        # The name is from the time when ext_authz asked; now the script does, without a cache.
        Case("classifier_ext_authz", 10, "generic", tuple(tenants), (), TENANTS, "http", 0),
        Case("classifier_grpc", 10, "generic", tuple(tenants), (), TENANTS, "grpc", 0),
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """The median ratio to the bare Envoy, and the largest share of our requests that failed."""

    ratio: float
    failed: float


async def measure(case: Case, rounds: int, seconds: float) -> Measured:
    """Measure one case with an Envoy of its own."""
    directory = scratch()
    settings: dict[str, Any] = {
        "classifier_protocol": case.protocol,
        "edge_cache_entries": case.edge_cache_entries,
    }
    try:
        with upstream() as target:
            async with (
                bare_envoy(target, directory) as bare,
                cellway(directory, target, case.cells, case.ruleset, case.tenants, **settings) as (
                    _,
                    edge,
                ),
            ):
                return await _rounds(case, bare, edge, rounds, seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _rounds(case: Case, bare: int, edge: int, rounds: int, seconds: float) -> Measured:
    await asyncio.to_thread(send, Load(edge, case.paths, case.headers), 1.0)
    ratios: list[float] = []
    failed: list[float] = []
    for _ in range(rounds):
        before, ours, after = [
            await asyncio.to_thread(send, Load(port, case.paths, case.headers), seconds)
            for port in (bare, edge, bare)
        ]
        ratios.append(ours.per_second / statistics.mean((before.per_second, after.per_second)))
        failed.append(ours.failed)
    return Measured(statistics.median(ratios), max(failed))


def figures_of(name: str, measured: Measured, rounds: int) -> dict[str, Figure]:
    """Return the ratio, and the share of failed requests if there were any."""
    figures = {name: Figure(measured.ratio, "ratio", "higher", "bare Envoy", rounds)}
    if measured.failed:
        figures[f"{name}_failed"] = Figure(measured.failed, "share", "lower", "", rounds)
    return figures


async def main(rounds: int, seconds: float) -> None:
    """Measure and report case by case.

    Raises:
        RuntimeError: a case could not be measured; the others are.
    """
    ratios: dict[str, float] = {}
    broken: list[str] = []
    for case in cases():
        try:
            measured = await measure(case, rounds, seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases are to run
            broken.append(f"{case.name}: {error!r}")
            continue
        ratios[case.name] = measured.ratio
        report(figures_of(case.name, measured, rounds))
    asked = (ratios.get("classifier_ext_authz"), ratios.get("classifier_grpc"))
    if asked[0] and asked[1]:
        baseline = "the same evaluator over gRPC ext_authz"
        figure = Figure(asked[0] / asked[1], "ratio", "higher", baseline, rounds)
        report({"classifier_http_vs_grpc": figure})
    if broken:
        raise RuntimeError("\n".join(broken))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    run_loop(main(options.rounds, options.seconds))
