"""``make soak``: the whole system under load, changes and faults; no wrong cell, no growing memory.

Stops by itself after ``--minutes``. The exit status is 0 only if every answer came from its cell,
and no process grew by more than `ALLOWED_MIB` and `ALLOWED_SHARE` after its warm-up.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.e2e.faults import FAULTS, suffer, wrong
from tests.e2e.faulty_system import FaultySystem, Requests, faulty_system
from tests.e2e.load import LOST, OK, Load, get
from tests.support.conditions import wait_until
from tests.support.raw_client import RawClient

SAMPLE_S = 1.0
WARM_UP_SHARE = 0.3
"""The share of the run in which caches fill and pools open; growth is measured after it."""
ALLOWED_MIB = 12.0
ALLOWED_SHARE = 0.10
RESTARTED = frozenset(
    {"control plane killed", "control plane and classifier killed", "Envoy killed"}
)
"""Faults that are left out: a process that starts anew hides how much it had grown."""


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process; raise FileNotFoundError if there is none."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise FileNotFoundError(pid)


@dataclass
class Memory:
    """Samples the processes' memory in a thread, used with `with`."""

    processes: dict[str, Callable[[], int]]
    samples: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    _stop: threading.Event = field(default_factory=threading.Event)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            for name, pid_of in self.processes.items():
                pid = pid_of()
                try:
                    self.samples[name, pid].append(resident_mib(pid))
                except (FileNotFoundError, ProcessLookupError):
                    continue

    def growth(self, least: int) -> Iterator[tuple[str, float, float]]:
        """Yield name, MiB early and MiB late of each process with at least so many samples."""
        for (name, _), series in sorted(self.samples.items()):
            warm = series[int(len(series) * WARM_UP_SHARE) :]
            part = len(warm) // 4
            if len(series) < least or part == 0:
                continue
            yield name, statistics.median(warm[:part]), statistics.median(warm[-part:])

    @property
    def longest(self) -> int:
        """The number of samples of the process that lived longest."""
        return max(map(len, self.samples.values()), default=0)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Changes:
    """Makes changes while requests run, and checks those that move something."""

    def __init__(self, system: FaultySystem) -> None:
        self._system = system
        self._turn = itertools.cycle(("cell-1", "cell-2"))
        self._owner = ""
        self.moves = 0
        self.checked = 0

    def __call__(self) -> None:
        """Make one round: a claim moves, a new one comes and goes, the routes change."""
        self._move()
        plane = self._system.plane
        key = {"bucket": "route", "value": f"passing-{self.moves}"}
        plane.write("POST", "/v1/claims", {"claims": [{**key, "cell": "cell-1"}]})
        plane.write("POST", "/v1/claims/release", {"claims": [key]})
        weight = {"weight": 50 + self.moves % 50}
        path = "/v1/cells/cell-2?wait=fleet&timeout=20s"
        plane.write("PATCH", path, weight, **{"if-match": "*"})

    def _move(self) -> None:
        plane, key = self._system.plane, {"bucket": "route", "value": "moving"}
        if self._owner:
            plane.write("POST", "/v1/claims/release?wait=fleet&timeout=20s", {"claims": [key]})
        self._owner = next(self._turn)
        body = {"claims": [{**key, "cell": self._owner}]}
        plane.write("POST", "/v1/claims?wait=fleet&timeout=20s", body)
        self.moves += 1
        with RawClient(plane.edge_port) as client:
            for _ in range(5):
                status, headers, _ = client.ask(b"/moving/x")
                served = headers.get("x-example-cell")
                assert (status, served) == (OK, self._owner), (status, served, self._owner)
                self.checked += 1


def soak(minutes: float) -> int:
    """Run the soak test; return its exit status."""
    faults = itertools.cycle(fault for fault in FAULTS if fault.name not in RESTARTED)
    with (
        tempfile.TemporaryDirectory(prefix="cellway-soak-") as directory,
        faulty_system(Path(directory)) as system,
    ):
        asked = Requests(again=True)
        kinds = {"native": asked.native, "seen": asked.seen, "new": asked.new}
        strangers = {"stranger": lambda: get(b"/%s/x" % os.urandom(8).hex().encode())}
        changes = Changes(system)
        processes: dict[str, Callable[[], int]] = {
            "control plane": lambda: system.plane.pid,
            "Envoy": lambda: system.envoy.pid,
            "agent": lambda: system.agent.pid,
        }
        port = system.plane.edge_port
        end = time.monotonic() + minutes * 60
        with (
            Load(port, kinds, cell_header="x-example-cell") as load,
            Load(port, strangers, threads=1, cell_header="x-example-cell") as crowd,
            Memory(processes) as memory,
        ):
            requests = 0
            while time.monotonic() < end:
                print(suffer(system, load, next(faults)), flush=True)
                for _ in range(10):
                    changes()
                    load.go_on(30)
                answers = load.take()
                requests += answers.total()
                assert wrong(answers, FAULTS[0]) == {}, "while changes were made"
            wait_until(system.synced)
            odd = {a: n for a, n in crowd.seen().items() if a.status not in {OK, 503}}
            lost = sum(n for a, n in odd.items() if a.status == LOST)
        print(
            f"{requests + crowd.seen().total()} requests without a fault, {changes.moves} moves with "
            f"{changes.checked} checked answers, no wrong cell; {lost} lost, {odd or 'none odd'}"
        )
        return _report(memory) or int(bool(odd))


def _report(memory: Memory) -> int:
    grown = 0
    for name, early, late in memory.growth(memory.longest // 2):
        allowed = ALLOWED_MIB + ALLOWED_SHARE * early
        verdict = "ok" if late - early <= allowed else "GROWS"
        grown += verdict != "ok"
        print(
            f"{name}: {early:.1f} MiB early, {late:.1f} MiB late (+{allowed:.0f} allowed): {verdict}"
        )
    return min(grown, 1)


def main() -> None:
    """``python -m tests.e2e.soak [--minutes N]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    sys.exit(soak(parser.parse_args().minutes))


if __name__ == "__main__":
    main()
