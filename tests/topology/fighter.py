"""Processes that fight for the same names, each writing down what it was told.

    python -m tests.topology.fighter URL DIRECTORY CHILDREN NAMES SECONDS

Forks once everything is imported: starting so many interpreters would take longer than the fight.
Child N is cell ``N % CELLS + 1`` and writes JSON lines to ``DIRECTORY/N``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from control_plane.topology import Topology
from control_plane.topology.values.claim import RecordSpec
from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    Locked,
    NotFound,
    Unavailable,
)

CELLS = 4
PAUSE_S = 0.05


def specs(names: list[str]) -> list[RecordSpec]:
    return [RecordSpec("route", name) for name in names]


class Fighter:
    def __init__(self, topology: Topology, number: int, names: int, log: Any) -> None:
        self._topology = topology
        self._cell = number % CELLS + 1
        self._random = random.Random(number)
        self._names = names
        self._owned: set[str] = set()
        self._log = log

    def note(self, event: str, **more: object) -> None:
        """What is noted here was acknowledged: it must be so for ever."""
        os.write(self._log, (json.dumps({"event": event, **more}) + "\n").encode())

    def round(self) -> None:
        creates = [f"r{self._random.randrange(self._names)}" for _ in range(5)]
        creates = sorted(set(creates))[: self._random.randint(1, 5)]
        mine = sorted(self._owned - set(creates))
        destroys = self._random.sample(mine, min(len(mine), self._random.randint(0, 3)))
        key = f"{self._cell}-{os.getpid()}-{self._random.getrandbits(64)}"
        begun = self._begin(creates, destroys, key)
        if begun is None:
            return
        self._settle(begun, creates, destroys)

    def _begin(self, creates: list[str], destroys: list[str], key: str) -> str | None:
        for _ in range(40):
            try:
                made = self._topology.leases.begin(
                    self._cell, specs(creates), specs(destroys), actor="f", idempotency_key=key
                )
            except (AlreadyExists, Locked) as refused:
                self.note("refused", why=type(refused).__name__)
                return None
            except NotFound:
                # Another process of the same cell destroyed it.
                self._owned -= set(destroys)
                return None
            except (Unavailable, Contention) as error:
                self.note("again", why=type(error).__name__)
                time.sleep(PAUSE_S)
            else:
                lease = made.value.uuid
                self.note("begun", lease=lease, revision=made.revision, names=creates)
                return lease
        raise TimeoutError("the database does not come back")

    def _settle(self, lease: str, creates: list[str], destroys: list[str]) -> None:
        chance = self._random.random()
        if chance < 0.05:
            return
        commit = chance < 0.8
        call = self._topology.leases.commit if commit else self._topology.leases.roll_back
        for _ in range(40):
            try:
                revision = call(self._cell, lease, actor="f")
            except (Unavailable, Contention) as error:
                self.note("again", why=type(error).__name__)
                time.sleep(PAUSE_S)
            else:
                self.note("committed" if commit else "rolled back", lease=lease, revision=revision)
                if commit:
                    self._owned = (self._owned | set(creates)) - set(destroys)
                return
        raise TimeoutError("the database does not come back")


def fight(url: str, directory: Path, number: int, names: int, seconds: float) -> None:
    topology = Topology.open(url, migrate_first=False)
    log = os.open(directory / str(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fighter = Fighter(topology, number, names, log)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fighter.round()
    fighter.note("done")
    topology.close()


def main(url: str, directory: str, children: str, names: str, seconds: str) -> int:
    pids: list[int] = []
    for number in range(int(children)):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fight(url, Path(directory), number, int(names), float(seconds))
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    sys.stdout.write(" ".join(map(str, pids)) + "\n")
    sys.stdout.flush()
    for pid in pids:
        os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
