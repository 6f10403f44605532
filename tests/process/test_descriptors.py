"""A process raises its limit of open files as far as it may."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from control_plane.process.descriptors import descriptors_for
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(descriptors_for(wanted), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "result"),
    [
        (100, 200, 150, "150 150 200"),
        (100, 200, 300, "200 200 200"),
        (100, 200, 50, "100 100 200"),
    ],
)
def test_the_soft_limit_is_raised_up_to_the_hard_one(
    soft: int, hard: int, wanted: int, result: str
) -> None:
    arguments = map(str, (soft, hard, wanted))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == result
