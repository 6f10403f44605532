"""Faults of each process of the system, and what each fault may cost."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tests.e2e.faulty_system import FaultySystem
from tests.e2e.load import LOST, OK, Answer, Load
from tests.support.conditions import wait_until

REQUESTS_PER_FAULT = 45
MOST_S = 8.0
"""Far above what Envoy waits for its classifier, and far below the client's 20 s: a hang."""
CELL_OF = {"native": "cell-2", "seen": "cell-1", "new": "cell-1"}
ASK_CLASSIFIER = frozenset({"seen", "new"})
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fault:
    """What is broken, and what that may cost.

    Requests of the kinds in ``may_fail`` may get a 503; of those in ``must_fail`` some do get it.
    """

    name: str
    broken: Callable[[FaultySystem], AbstractContextManager[None]]
    may_fail: frozenset[str] = NOBODY
    must_fail: frozenset[str] = NOBODY
    may_lose: bool = False
    of_a_cell: bool = False
    """Whether requests fail although the edge knows where they belong."""
    mended: bool = True
    """Whether the fault is over in the end; otherwise the next one comes on top."""


@contextlib.contextmanager
def nothing(_: FaultySystem) -> Iterator[None]:
    yield


@contextlib.contextmanager
def classifier_killed(system: FaultySystem) -> Iterator[None]:
    system.plane.kill_classifiers()
    yield


def classifier_stopped(system: FaultySystem) -> AbstractContextManager[None]:
    return system.plane.frozen(classifiers=True)


def control_plane_stopped(system: FaultySystem) -> AbstractContextManager[None]:
    return system.plane.frozen()


@contextlib.contextmanager
def control_plane_killed(system: FaultySystem) -> Iterator[None]:
    system.plane.kill()
    yield


@contextlib.contextmanager
def its_classifier_too(system: FaultySystem) -> Iterator[None]:
    system.plane.kill_classifiers()
    yield
    system.plane.start()


@contextlib.contextmanager
def agent_killed(system: FaultySystem) -> Iterator[None]:
    system.agent.kill()
    yield
    system.agent.start()


@contextlib.contextmanager
def database_killed(system: FaultySystem) -> Iterator[None]:
    system.database.kill()
    yield
    system.database.start()


@contextlib.contextmanager
def cell_killed(system: FaultySystem) -> Iterator[None]:
    system.cells[0].kill()
    yield
    system.cells[0].start()


@contextlib.contextmanager
def envoy_killed(system: FaultySystem) -> Iterator[None]:
    system.envoy.kill()
    yield
    system.envoy.start()


def database_slow(system: FaultySystem) -> AbstractContextManager[None]:
    return system.locked_database()


NEW = frozenset({"new"})
FAULTS = (
    Fault("nothing", nothing),
    Fault("classifier killed (and started again)", classifier_killed, ASK_CLASSIFIER),
    Fault("classifier stopped", classifier_stopped, ASK_CLASSIFIER, NEW),
    Fault("database slow", database_slow),
    Fault("database killed", database_killed),
    Fault("control plane stopped", control_plane_stopped),
    Fault("control plane killed", control_plane_killed, mended=False),
    Fault("control plane and classifier killed", its_classifier_too, ASK_CLASSIFIER, NEW),
    Fault("agent killed", agent_killed),
    Fault("a cell killed", cell_killed, ASK_CLASSIFIER, ASK_CLASSIFIER, of_a_cell=True),
    Fault("Envoy killed", envoy_killed, frozenset(CELL_OF), may_lose=True),
)


def good(kind: str) -> Answer:
    return Answer(kind, OK, CELL_OF[kind])


def failed(answers: Counter[Answer], kind: str) -> int:
    return sum(count for a, count in answers.items() if a.asked == kind and a != good(kind))


def wrong(answers: Counter[Answer], fault: Fault) -> dict[Answer, int]:
    """Return the answers that the fault does not excuse: a wrong cell, first of all."""
    return {
        answer: count
        for answer, count in answers.items()
        if answer != good(answer.asked)
        and not (answer.asked in fault.may_fail and answer.status == 503)
        and not (fault.may_lose and answer.status == LOST)
    }


def suffer(system: FaultySystem, load: Load, fault: Fault) -> str:
    """Break one thing, watch, repair it, and see that all is well; return a row of the table."""
    load.take()
    if system.has_map and fault.may_fail == ASK_CLASSIFIER and not fault.of_a_cell:
        # Nobody is asked, so nothing may fail.
        fault = replace(fault, may_fail=NOBODY, must_fail=NOBODY)
    with fault.broken(system):
        wait_until(lambda: all(failed(load.seen(), kind) for kind in fault.must_fail))
        load.go_on(REQUESTS_PER_FAULT)
        tiers, answers = load.tiers(), load.seen()
        slowest = {kind: load.slowest_s(kind) for kind in CELL_OF}
        assert max(slowest.values()) < MOST_S, (fault.name, slowest)
    if fault.mended:
        until_well(system, load, fault)
    assert wrong(answers, fault) == {}, fault.name
    # The fault must excuse what failed while the process was started again, too.
    assert wrong(load.take(), fault) == {}, fault.name
    return (
        "| " + " | ".join([fault.name, *(_cell(answers, tiers, kind) for kind in CELL_OF)]) + " |"
    )


def until_well(system: FaultySystem, load: Load, fault: Fault) -> None:
    """Wait until nothing fails any more, and Envoy follows the control plane."""

    def well() -> bool:
        before = load.seen()
        load.go_on(15)
        since = load.seen() - before
        return all(failed(since, kind) == 0 for kind in CELL_OF)

    try:
        wait_until(well)
        wait_until(system.synced)
    except AssertionError:
        raise AssertionError(f"not well after {fault.name}: {load.seen()}") from None


def _cell(answers: Counter[Answer], tiers: Counter[tuple[str, str]], kind: str) -> str:
    parts = [
        f"{tier or '-'} {count}" for (asked, tier), count in sorted(tiers.items()) if asked == kind
    ]
    for what, status in (("503", 503), ("no answer", LOST)):
        count = sum(n for a, n in answers.items() if a.asked == kind and a.status == status)
        parts += [f"{what} {count}"] if count else []
    return ", ".join(parts)
