"""An agent that is killed at any moment leaves a table that is what its revision says."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from control_plane.edge_agent.map_store import FILE
from tests.edge_agent.map_writer import owners_at

KILLS = 4
LONGEST_LIFE_S = 0.3


def killed(directory: Path, life_s: float) -> int:
    """Run the writer, kill it after a while, and return the revision that it had found on disk."""
    program = [sys.executable, "-m", "tests.edge_agent.map_writer", str(directory)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        line = writer.stdout.readline()
        assert line, "the table on disk was not what its revision says"
        # That the moment is random is what is tested.
        time.sleep(life_s)
        writer.kill()
    return int(line)


def test_a_table_survives_kills_at_random(tmp_path: Path) -> None:
    found = [killed(tmp_path, random.uniform(0.0, LONGEST_LIFE_S)) for _ in range(KILLS)]
    found.append(killed(tmp_path, 0.0))
    assert found == sorted(found), "no kill takes the table back by more than was not written"
    assert found[-1] > found[0] == 0
    assert (tmp_path / FILE).exists()


def test_the_writer_knows_the_owners_of_each_revision() -> None:
    owners = owners_at(1)
    for revision in range(2, 1200):
        owners[revision % 500] = revision
        if revision % 97 == 0:
            assert owners == owners_at(revision)
