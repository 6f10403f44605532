"""Sixteen threads look names up while one changes them; `make soak` does so for longer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.edge_module.native import compiled


def test_no_answer_is_torn_or_late_or_that_of_another_name(tmp_path: Path) -> None:
    stress = compiled("stress", tmp_path)
    done = subprocess.run([stress, "0.6", "16"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "garbage left: 0" in done.stdout
