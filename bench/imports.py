"""Measures `cellway claims import` into SQLite ÷ the bare driver writing the same rows.

    python -m bench.imports [--claims N] [--rounds N]

`import_per_s` goes through the API of a control plane in a process of its own, as an operator does
it. `import_direct_per_s` goes past the API, with `--database-url`. Both are claims a second of the
whole command, from its start to its end. The baseline writes the rows that an import writes (claims
and their change feed) with sqlite3, as many in a transaction, and as durably. Each round begins
with a fresh database of the real schema. `import_vs_sqlite3` and `import_direct_vs_sqlite3` are
medians of the rounds' ratios.
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
from pathlib import Path

from bench.load import scratch
from bench.process import process, serve_api
from bench.results import Figure, report
from bench.topologies import NOWHERE, add_cells, opened
from control_plane.cli.import_pieces import PIECE_LINES

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


def _fresh(directory: Path, name: str) -> Path:
    """Create a database with cells and without claims; return its file."""
    path = directory / name / "cellway.db"
    with opened(f"sqlite:///{path}") as topology:
        add_cells(topology, [NOWHERE] * CELLS)
    return path


def _write_claims(path: Path, claims: int) -> list[tuple[str, str, int]]:
    """Write a file of claims in random order; return bucket, value and cell id of each."""
    numbers = list(range(claims))
    random.Random(3).shuffle(numbers)
    rows = [("username", f"user-{number}", number % CELLS + 1) for number in numbers]
    with path.open("w") as file:
        for bucket, value, cell in rows:
            line = {"bucket": bucket, "value": value, "cell": f"cell-{cell}"}
            file.write(json.dumps(line) + "\n")
    return rows


def _command(*arguments: str) -> float:
    """Run `cellway` with these arguments; return the seconds, or raise if it fails."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "control_plane.cli.main", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _through_api(database: Path, file: Path) -> float:
    with process(serve_api, f"sqlite:///{database}") as (_, port):
        return _command("--server", f"http://127.0.0.1:{port}", "claims", "import", str(file))


def _direct(database: Path, file: Path) -> float:
    url = f"sqlite:///{database}"
    return _command("claims", "import", str(file), "--database-url", url)


def _bare(database: Path, rows: list[tuple[str, str, int]]) -> float:
    """Write the rows with sqlite3; return the seconds."""
    connection = sqlite3.connect(database, autocommit=True)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    started = time.perf_counter()
    at = "2026-01-01 00:00:00.000000"
    for start in range(0, len(rows), PIECE_LINES):
        some = rows[start : start + PIECE_LINES]
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


def _check(database: Path, claims: int) -> None:
    connection = sqlite3.connect(database)
    (count,) = connection.execute("SELECT count(*) FROM claims").fetchone()
    connection.close()
    if count != claims:
        raise RuntimeError(f"{count} claims were imported of {claims}")


def main(*, claims: int = CLAIMS, rounds: int = 3) -> None:
    """Measure and report."""
    directory = scratch()
    taken: dict[str, list[float]] = {"import": [], "import_direct": [], "bare": []}
    try:
        file = directory / "claims.ndjson"
        rows = _write_claims(file, claims)
        ways: dict[str, Callable[[Path], float]] = {
            "import": lambda database: _through_api(database, file),
            "import_direct": lambda database: _direct(database, file),
            "bare": lambda database: _bare(database, rows),
        }
        for number in range(rounds):
            for name, way in ways.items():
                database = _fresh(directory, f"{name}-{number}")
                taken[name].append(way(database))
                _check(database, claims)
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
    options = parser.parse_args()
    main(claims=options.claims, rounds=options.rounds)
