"""Each process is killed or stopped in turn, under load; the table shows what each request got.

A round takes half a minute; the environment variable FAULT_ROUNDS asks for more rounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.faults import FAULTS, suffer
from tests.e2e.faulty_system import FaultySystem, Requests, faulty_system
from tests.e2e.load import Load

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySystem]:
    with faulty_system(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.mark.slow
def test_each_process_killed_or_stopped_costs_only_what_it_must(
    system: FaultySystem, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Requests()
    kinds = {"native": asked.native, "seen": asked.seen, "new": asked.new}
    with Load(system.plane.edge_port, kinds, cell_header="x-example-cell") as load:
        load.go_on(100)
        table = [suffer(system, load, fault) for _ in range(ROUNDS) for fault in FAULTS]
    with capsys.disabled():
        print("\n".join(["", "| broken | native | key seen before | key never seen |", *table]))
