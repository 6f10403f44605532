"""No program, however damaged, makes the module read or write where it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.compiler.programs import RulesetProgram
from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs import fuzz
from tests.compiler.programs.comparison import some_cells
from tests.compiler.programs.module_host import BadProgram, LoadedProgram


def test_sanitizers_find_nothing_in_damaged_programs(tmp_path: Path) -> None:
    done = fuzz.run(fuzz.write_inputs(tmp_path), seed=1, rounds=300)
    assert done.returncode == 0, done.stderr


def test_a_program_that_ends_too_soon_is_refused() -> None:
    ruleset = parse((RULESETS / "session_prefix.json").read_text())
    code = RulesetProgram.of(ruleset).program(some_cells()).code
    for size in [*range(0, len(code), 13), len(code) - 1]:
        with pytest.raises(BadProgram, match="it "):
            LoadedProgram(code[:size])


def test_a_program_of_another_version_is_refused() -> None:
    with pytest.raises(BadProgram, match="no program of this version"):
        LoadedProgram(b"CWP9" + bytes(100))
