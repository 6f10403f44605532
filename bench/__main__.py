"""``make bench``: all benchmarks."""

from __future__ import annotations

from bench import classifier, classify, data_plane, propagation
from control_plane.server import run_loop

run_loop(data_plane.main(rounds=5, seconds=2.0))
run_loop(propagation.main(changes=50))
run_loop(classify.main(rounds=7, seconds=1.5))
classifier.main(rounds=5, seconds=1.0)
