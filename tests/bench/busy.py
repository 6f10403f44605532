"""Every benchmark, with settings that take seconds, while other programs take all processors.

    python -m tests.bench.busy [--neighbours N]      # a part of `make soak`

Each has to end with its figures. They go to a copy of `bench/`, since they say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.__main__ import BENCHMARKS, run

ROOT = Path(__file__).parents[2]
LONGEST_S = 300.0
TINY: Mapping[str, str] = {
    "data_plane": "--rounds 1 --seconds 0.3",
    "propagation": "--changes 4",
    "moves": "--moves 4",
    "classify": "--rounds 1 --seconds 0.3",
    "classifier": "--rounds 1 --seconds 0.3",
    "claims": "--claims 2000 --rounds 1 --seconds 0.3",
    "claim_load": "--rates 50 --seconds 1",
    "imports": "--claims 2000 --rounds 1",
    "compile": "--cells 50 --changes 5",
    "memory": "--nodes 20 --cells 20 --claims 2000",
    "fleet": "--nodes 20 --cells 20 --channels 5 --changes 2",
}


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Run programs that always have something to do."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def reported(folder: Path) -> set[str]:
    """Return the names of the figures that there are."""
    latest = folder / "bench" / "results" / "latest.json"
    return set(json.loads(latest.read_text())) if latest.exists() else set()


def main() -> None:
    """Run all; the exit status is 0 only if each has ended well and has reported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, default=os.cpu_count() or 1)
    count = parser.parse_args().neighbours
    wrong = [f"{name} has no settings here" for name in BENCHMARKS.keys() - TINY.keys()]
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as path, neighbours(count), contextlib.chdir(path):
        folder = Path(path)
        shutil.copytree(
            ROOT / "bench",
            folder / "bench",
            ignore=shutil.ignore_patterns("results", "__pycache__"),
        )
        (folder / "rulesets").symlink_to(ROOT / "rulesets")
        for name, arguments in TINY.items():
            before = reported(folder)
            failed = run({name: arguments.split()}, longest_s=LONGEST_S)
            wrong += [f"{name}: {why}" for why in failed.values()]
            if not reported(folder) - before:
                wrong.append(f"{name} has reported nothing")
    print(f"{len(TINY)} benchmarks beside {count} busy programs: {wrong or 'all have reported'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
