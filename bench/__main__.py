"""``make bench``: all benchmarks."""

from __future__ import annotations

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

run_loop(data_plane.main(rounds=5, seconds=2.0))
run_loop(propagation.main(changes=50))
run_loop(moves.main(moves=200))
run_loop(classify.main(rounds=7, seconds=1.5))
classifier.main(rounds=5, seconds=1.0)
claims.main()
claim_load.main(seconds=10.0)
imports.main(rounds=2)
compiling.main(cells=1000, changes=200)
run_loop(memory.main(nodes=1000, cells=1000, claims=10_000_000))
# Last: it pins this process to one core.
run_loop(fleet.main(fleet.Size(), changes=10))
