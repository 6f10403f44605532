"""Measures `cellway simulate`: lines a second of processor time, and the memory that it takes.

    python -m bench.simulate [--lines N] [--rounds N]

The log is Envoy's JSON, 490 bytes a line, of GitLab's kind: names by a power law (the most frequent
tenth of the names has two thirds of the requests), a query on each line, a session cookie on a
third. The rulesets are the shipped one for GitLab and the same with its rule for names changed, so
that each request is decided by both.

* `simulate_lines_per_s`: in this process, owners from a file of claims.
* `simulate_distinct_lines_per_s`: the same if no two requests are alike, so that no decision is
  remembered: the worst case.
* `simulate_served_lines_per_s`: the whole command with a server, which tells the owners. The time
  is the command's own; the server takes a core of its own.
* `simulate_memory_mib`: the most memory of that command.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.load import scratch
from bench.process import process, serve_api
from bench.results import Figure, report
from bench.topologies import NOWHERE, activate, add_cells, add_tenants, opened
from control_plane.routing.rules.parse import parse
from control_plane.shipped import rulesets
from control_plane.simulation.comparison import Comparison
from control_plane.simulation.logs.log_file import LogFile
from control_plane.simulation.offline import cells_of
from control_plane.simulation.worlds import World

LINES = 300_000
NAMES = 50_000
CELLS = 10
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0"
_MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
if done.returncode not in {0, 2}:
    sys.exit(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.loads(done.stdout)["requests"], used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command; prints the requests that it tells of, its processor time and its memory."""
_PAGES = ("issues", "merge_requests", "pipelines", "tree/main", "commits/main", "settings")


def log_lines(lines: int, *, distinct: bool) -> Iterator[bytes]:
    """Yield lines of an access log."""
    numbers = random.Random(7)
    for number in range(lines):
        name = number if distinct else int(numbers.paretovariate(0.5)) % NAMES
        page = f"issues/{number}" if distinct else numbers.choice(_PAGES)
        cookie = f"theme=dark; _gitlab_session=cell-{name % CELLS + 1}-x" if name % 3 == 0 else None
        line = {
            "start_time": "2026-11-30T03:12:00.123Z",
            "method": "GET",
            "path": f"/group-{name}/project-{name % 7}/-/{page}?page={number}",
            "protocol": "HTTP/2",
            "response_code": 200,
            "response_flags": "-",
            "bytes_sent": 4521,
            "duration": 25,
            "x_forwarded_for": "192.0.2.7",
            "user_agent": _AGENT,
            "request_id": f"b9f6bd1e-6ddc-4c7c-8f5c-{number:012}",
            "authority": "gitlab.example.com",
            "cookie": cookie,
        }
        yield json.dumps(line).encode() + b"\n"


def _worlds() -> tuple[World, World, Path]:
    """Return the active world, the proposed one, and the file of the active ruleset."""
    shipped = rulesets()["gitlab"]
    document = json.loads(shipped.read_text())
    cells = cells_of(
        {"name": f"cell-{number}", "address": f"c{number}.example", "state": "active"}
        for number in range(1, CELLS + 1)
    )
    return World(parse(document), cells), World(parse(_proposed(document)), cells), shipped


def _proposed(document: dict[str, object]) -> dict[str, object]:
    """Return a ruleset whose rule for names finds no cell by their second bucket any more."""
    changed = json.loads(json.dumps(document))
    for rule in changed["rules"]:
        if rule["id"] == "route":
            rule["classify"]["claims"] = rule["classify"]["claims"][:1]
    return dict(changed)


def _owners(keys: Sequence[tuple[str, str]]) -> list[int | None]:
    return [len(value) % CELLS + 1 if bucket == "route" else None for bucket, value in keys]


def _in_process(lines: Sequence[bytes]) -> float:
    """Return lines a second of processor time."""
    before, after, _ = _worlds()
    log = io.BytesIO(b"".join(lines))
    started = time.process_time()
    comparison = Comparison(before, after, _owners, examples=3)
    comparison.run(LogFile(log), "localhost")
    took = time.process_time() - started
    if comparison.tally.as_dict()["requests"] != len(lines):
        raise RuntimeError("not all lines were read")
    return len(lines) / took


def _served(directory: Path, log: Path, lines: int) -> tuple[float, float]:
    """Return lines a second of the command's processor time, and its memory in MiB."""
    _, _, shipped = _worlds()
    rules = directory / "proposed.json"
    rules.write_text(json.dumps(_proposed(json.loads(shipped.read_text()))))
    url = f"sqlite:///{directory}/cellway.db"
    with opened(url) as topology:
        add_cells(topology, [NOWHERE] * CELLS)
        activate(topology, "gitlab")
        add_tenants(topology, "route", [f"group-{number}" for number in range(5000)], CELLS)
    with process(serve_api, url) as (_, port):
        command = [sys.executable, "-m", "control_plane.cli.main", "simulate", str(log)]
        command += ["--server", f"http://127.0.0.1:{port}", "--rules", str(rules), "-o", "json"]
        # A child of a large process counts that one's memory as its own, so a small one measures.
        measured = [sys.executable, "-c", _MEASURE, *command]
        done = subprocess.run(measured, capture_output=True, text=True, check=True)
    requests, seconds, kib = map(float, done.stdout.split())
    if requests != lines:
        raise RuntimeError(f"{requests} of {lines} lines were read")
    return lines / seconds, kib / 1024


def main(*, lines: int = LINES, rounds: int = 3) -> None:
    """Measure and report."""
    directory = scratch()
    try:
        usual = list(log_lines(lines, distinct=False))
        log = directory / "access.log"
        log.write_bytes(b"".join(usual))
        rates = [_in_process(usual) for _ in range(rounds)]
        worst = [_in_process(list(log_lines(lines // 5, distinct=True))) for _ in range(rounds)]
        served, memory = _served(directory, log, lines)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report(
        {
            "simulate_lines_per_s": Figure(
                statistics.median(rates), "1/s", "higher", "one core", rounds
            ),
            "simulate_distinct_lines_per_s": Figure(
                statistics.median(worst), "1/s", "higher", "one core", rounds
            ),
            "simulate_served_lines_per_s": Figure(served, "1/s", "higher", "one core", 1),
            "simulate_memory_mib": Figure(memory, "MiB", "lower", "the whole command", 1),
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    main(lines=options.lines, rounds=options.rounds)
