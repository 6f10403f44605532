"""``make bench``: all benchmarks. One that fails is named at the end, and the others still run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping

from bench import (
    claim_load,
    claims,
    classifier,
    classify,
    data_plane,
    fleet,
    imports,
    memory,
    moves,
    propagation,
)
from bench import compile as compiling
from control_plane.process.event_loop import run_loop

BENCHMARKS: Mapping[str, Callable[[], None]] = {
    "data_plane": lambda: run_loop(data_plane.main(rounds=5, seconds=2.0)),
    "propagation": lambda: run_loop(propagation.main(changes=50)),
    "moves": lambda: run_loop(moves.main(moves=200)),
    "classify": lambda: run_loop(classify.main(rounds=7, seconds=1.5)),
    "classifier": lambda: classifier.main(rounds=5, seconds=1.0),
    "claims": claims.main,
    "claim_load": claim_load.main,
    "imports": lambda: imports.main(rounds=2),
    "compile": lambda: compiling.main(cells=1000, changes=200),
    "memory": lambda: run_loop(memory.main(nodes=1000, cells=1000, claims=10_000_000)),
    # Last, because it pins this process to one core.
    "fleet": lambda: run_loop(fleet.main(fleet.Size(), changes=10)),
}


def run(benchmarks: Mapping[str, Callable[[], None]]) -> list[str]:
    """Run benchmarks one after another; return the names of those that failed."""
    failed: list[str] = []
    for name, benchmark in benchmarks.items():
        try:
            benchmark()
        except Exception:  # noqa: BLE001 - whatever it is, the others are to run
            traceback.print_exc()
            failed.append(name)
    return failed


if __name__ == "__main__":
    if failures := run(BENCHMARKS):
        sys.exit(f"these benchmarks failed: {', '.join(failures)}")
