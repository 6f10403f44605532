"""The face of the topology's room: what other rooms import from it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from control_plane import topology


@pytest.mark.parametrize("name", topology.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(topology, name) is not None


def test_any_other_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = topology.Nonsense


def test_who_needs_only_values_loads_no_database() -> None:
    program = (
        "import sys, control_plane.topology.values.claim;"
        "sys.exit(bool({'sqlalchemy', 'psycopg'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
