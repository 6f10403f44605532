"""Names move between cells at random while clients ask: no answer is older than the last known
move.

Every answer is checked against the history. When the wait for the fleet after a move has returned,
no later request may reach the old cell. The short form runs by default; with CELLWAY_LONG=1 there
are at least 200,000 requests and 2,000 moves.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from control_plane.topology import Subject
from control_plane.topology.values.claim import ClaimSpec
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.system import System

LONG = bool(os.environ.get("CELLWAY_LONG"))
TENANTS = 64
MOVERS = 8
ASKERS = 3
REQUESTS = 200_000 if LONG else 3_000
MOVES = 2_000 if LONG else 60
MOST_S = 3_000.0 if LONG else 120.0
FLEET_S = 20.0
CELLS = ("cell-1", "cell-2", "cell-3")
NOBODY = ""


class Name:
    """One name, and the answers that are right from each moment on."""

    def __init__(self, number: int, cell: str) -> None:
        self.number = number
        self.value = f"tenant-{number}"
        self.cell = cell
        self._lock = threading.Lock()
        self._history: list[tuple[float, frozenset[str]]] = [(0.0, frozenset({cell}))]

    def may_be(self, *cells: str) -> None:
        with self._lock:
            self._history.append((time.monotonic(), frozenset(cells)))

    def allowed(self, begun: float, ended: float) -> frozenset[str]:
        """Return every answer that was right at some moment of that time."""
        right: frozenset[str] = frozenset()
        with self._lock:
            for index, (since, cells) in enumerate(self._history):
                until = self._history[index + 1][0] if index + 1 < len(self._history) else ended
                if since <= ended and until >= begun:
                    right |= cells
        return right


class Run:
    """The movers, the askers and their results."""

    def __init__(self, system: System, names: list[Name]) -> None:
        self.system, self.names = system, names
        self.moves = 0
        self.answers: Counter[str] = Counter()
        self.tiers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def go(self) -> None:
        threads = [threading.Thread(target=self._move, args=(n,)) for n in range(MOVERS)]
        threads += [threading.Thread(target=self._ask, args=(n,)) for n in range(ASKERS)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + MOST_S
        while time.monotonic() < end and not self.wrong:
            if self.answers.total() >= REQUESTS and self.moves >= MOVES:
                break
            time.sleep(0.05)
        self._stop.set()
        for thread in threads:
            thread.join(FLEET_S * 2)

    def _move(self, mover: int) -> None:
        choose = random.Random(mover)
        mine = self.names[mover::MOVERS]
        try:
            while not self._stop.is_set():
                name = choose.choice(mine)
                target = choose.choice([cell for cell in CELLS if cell != name.cell])
                if choose.random() < 0.3:
                    self._free_and_claim(name, target)
                else:
                    self._transfer(name, target)
                with self._lock:
                    self.moves += 1
        except BaseException as error:
            self.wrong.append(f"mover {mover}: {error!r}")
            raise

    def _transfer(self, name: Name, target: str) -> None:
        topology = self.system.plane.topology
        name.may_be(name.cell, target)
        written = topology.moves.move(
            Subject(text=name.value), name.cell, target, reason="test", actor="mover"
        )
        self._known(name, target, written.revision)

    def _free_and_claim(self, name: Name, target: str) -> None:
        topology = self.system.plane.topology
        name.may_be(name.cell, NOBODY, target)
        topology.claims.release([("tenant", name.value)], actor="mover")
        written = topology.claims.claim([spec(name, target)], actor="mover")
        self._known(name, target, written.revision)

    def _known(self, name: Name, target: str, revision: int) -> None:
        lacking = self.system.call(lambda: self.system.plane.fleet.wait(revision, FLEET_S))
        assert lacking == ()
        name.cell = target
        name.may_be(target)

    def _ask(self, asker: int) -> None:
        choose = random.Random(1000 + asker)
        try:
            with RawConnection(("127.0.0.1", self.system.edge_port)) as connection:
                while not self._stop.is_set():
                    name = choose.choice(self.names)
                    request = request_bytes(f"/t/{name.value}/{choose.randrange(9)}".encode())
                    begun = time.monotonic()
                    response = connection.exchange(request)
                    ended = time.monotonic()
                    assert response is not None
                    self._check(name, begun, ended, response.status, response.header)
        except BaseException as error:
            self.wrong.append(f"asker {asker}: {error!r}")
            raise

    def _check(self, name: Name, begun: float, ended: float, status: int, header: object) -> None:
        assert callable(header)
        cell = (header("x-example-cell") or b"").decode()
        tier = (header("x-cellway-tier") or b"").decode()
        allowed = name.allowed(begun, ended)
        right = cell in allowed and (status == 200) == bool(cell)
        with self._lock:
            self.answers[cell] += 1
            self.tiers[tier] += 1
            if not right:
                self.wrong.append(f"{name.value}: {status} {cell!r} by {tier}, not {set(allowed)}")


def spec(name: Name, cell: str) -> ClaimSpec:
    return ClaimSpec("tenant", name.value, cell, subject=name.value)


@pytest.mark.timeout(4000 if LONG else 180)
def test_no_request_reaches_the_old_cell_once_a_move_is_known(tmp_path: Path) -> None:
    with System(tmp_path, classifier_workers=1) as system:
        system.add_cells()
        system.use_ruleset("generic")
        names = [Name(number, CELLS[number % 3]) for number in range(1, TENANTS + 1)]
        system.plane.topology.claims.claim([spec(one, one.cell) for one in names], actor="test")
        system.in_step()
        run = Run(system, names)
        run.go()
    assert not run.wrong, "\n".join(run.wrong[:10])
    assert run.answers.total() >= REQUESTS
    assert run.moves >= MOVES
    print(f"{run.answers.total()} requests, {run.moves} moves, {dict(run.tiers)}")
    tier = "edge-cache" if system.module is None else "edge-map"
    assert run.tiers[tier] > run.answers.total() / 10, f"{tier} answered, too"
