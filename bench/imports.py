"""`cellway claims import` into SQLite, the whole command, ÷ the bare driver writing the same rows.

    python -m bench.imports [--claims N] [--rounds N]

`import_per_s` is through the API of a control plane in a process of its own, as an operator runs
it; `import_direct_per_s` is with `--database-url`, past it. Each counts from the command's start to
its end, in claims a second, each round into a fresh database of the real schema; so does the
baseline, which writes the rows that an import writes (claims and their change feed) with sqlite3,
as many in a transaction, as durably. `import_vs_sqlite3` and `import_direct_vs_sqlite3` are medians
of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from bench.load import scratch
from bench.process import process
from bench.results import Figure, report
from control_plane.cli.bulk import PIECE_LINES
from control_plane.process.event_loop import until_signal
from control_plane.server import running
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint

CLAIMS = 200_000
CELLS = 10
_CLAIM = """
INSERT INTO claims (bucket, value, cell_id, uuid, status, subject_type, subject_id, source_type,
    revision, created_at, updated_at)
VALUES (?, ?, ?, ?, 'active', 0, 0, 0, ?, ?, ?) ON CONFLICT DO NOTHING"""
_CHANGE = """
INSERT INTO changes (revision, ordinal, kind, action, key, after, actor, at)
VALUES (?, ?, 'claim', 'create', ?, ?, 'bench', ?)"""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


async def _serve(told: Connection, url: str) -> None:
    settings = Settings(
        database_url=url, api_port=0, grpc_port=0, classifier_port=0, health_interval_s=0
    )
    async with running(settings) as plane:
        told.send(plane.ports.api)
        await until_signal()


def _fresh(directory: Path, name: str) -> Path:
    """A database with cells and no claims."""
    path = directory / name / "cellway.db"
    topology = Topology.open(f"sqlite:///{path}")
    for number in range(1, CELLS + 1):
        cell, endpoint = f"cell-{number}", Endpoint("127.0.0.1", 443)
        spec = CellSpec(cell, f"{cell}.example.com", (endpoint,), state=CellState.ACTIVE)
        topology.cells.create(spec, actor="bench")
    topology.close()
    return path


def _written(path: Path, claims: int) -> list[tuple[str, str, int]]:
    """A file of so many claims, in no order; what it says."""
    numbers = list(range(claims))
    random.Random(3).shuffle(numbers)
    said = [("username", f"user-{number}", number % CELLS + 1) for number in numbers]
    with path.open("w") as file:
        for bucket, value, cell in said:
            line = {"bucket": bucket, "value": value, "cell": f"cell-{cell}"}
            file.write(json.dumps(line) + "\n")
    return said


def _command(*arguments: str) -> float:
    """Seconds that the command took; raises if it failed."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "control_plane.cli.main", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _through_api(database: Path, file: Path) -> float:
    with process(_serve, f"sqlite:///{database}") as (_, port):
        return _command("--server", f"http://127.0.0.1:{port}", "claims", "import", str(file))


def _direct(database: Path, file: Path) -> float:
    url = f"sqlite:///{database}"
    return _command("claims", "import", str(file), "--database-url", url)


def _bare(database: Path, said: list[tuple[str, str, int]]) -> float:
    connection = sqlite3.connect(database, autocommit=True)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    started = time.perf_counter()
    at = "2026-01-01 00:00:00.000000"
    for start in range(0, len(said), PIECE_LINES):
        some = said[start : start + PIECE_LINES]
        revision = 100 + start
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            _CLAIM, [(*one, str(uuid.uuid4()), revision, at, at) for one in some]
        )
        connection.executemany(
            _CHANGE,
            [
                (revision, ordinal, f"{b}:{v}", f'{{"cell_id": {cell}, "imported": true}}', at)
                for ordinal, (b, v, cell) in enumerate(some)
            ],
        )
        connection.execute("COMMIT")
    took = time.perf_counter() - started
    connection.close()
    return took


def _checked(database: Path, claims: int) -> None:
    connection = sqlite3.connect(database)
    (found,) = connection.execute("SELECT count(*) FROM claims").fetchone()
    connection.close()
    if found != claims:
        raise RuntimeError(f"{found} claims were imported of {claims}")


def main(*, claims: int = CLAIMS, rounds: int = 3) -> None:
    """Measure and report."""
    directory = scratch()
    taken: dict[str, list[float]] = {"import": [], "import_direct": [], "bare": []}
    try:
        file = directory / "claims.ndjson"
        said = _written(file, claims)
        ways: dict[str, Callable[[Path], float]] = {
            "import": lambda database: _through_api(database, file),
            "import_direct": lambda database: _direct(database, file),
            "bare": lambda database: _bare(database, said),
        }
        for number in range(rounds):
            for name, way in ways.items():
                database = _fresh(directory, f"{name}-{number}")
                taken[name].append(way(database))
                _checked(database, claims)
                shutil.rmtree(database.parent)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures: dict[str, Figure] = {}
    baseline = f"sqlite3 inserting the same rows, {claims} claims"
    for name in ("import", "import_direct"):
        rate = statistics.median(claims / one for one in taken[name])
        pairs = zip(taken[name], taken["bare"], strict=True)
        ratio = statistics.median(bare / ours for ours, bare in pairs)
        figures[f"{name}_per_s"] = Figure(rate, "1/s", "higher", "SQLite", rounds)
        figures[f"{name}_vs_sqlite3"] = Figure(ratio, "ratio", "higher", baseline, rounds)
    report(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=CLAIMS)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(claims=given.claims, rounds=given.rounds)
