"""What a module does while it is imported is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT


@pytest.mark.parametrize(
    ("text", "effects"),
    [
        ("import threading, socket, urllib.request\nLIMIT = 3\ndef f(): print(f)", []),
        ("import os\nos.environ['CELLWAY_X'] = 'x'", ["proto.effect changes the environment"]),
        ("open('written', 'w').close()", ["proto.effect writes a file"]),
        ("class C:\n    open('written', 'w').close()", ["proto.effect writes a file"]),
        ("import subprocess\nsubprocess.run(['true'])", ["proto.effect starts a process"]),
        (
            "import threading\nthreading.Thread(target=int).start()",
            ["proto.effect starts a thread"],
        ),
        ("print('hello')", ["printed: 'hello\\n'"]),
        ("1 / 0", ["proto.effect: ZeroDivisionError('division by zero')"]),
        (
            "import logging\nlogging.basicConfig()",
            ["logging is set up: [<StreamHandler (NOTSET)>]"],
        ),
    ],
)
def test_an_import_that_does_more_than_define_is_told(
    text: str, effects: list[str], tmp_path: Path
) -> None:
    (tmp_path / "proto").mkdir()
    (tmp_path / "proto" / "effect.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "tests.house.loading"],
        input="proto.effect",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        check=True,
    )
    assert json.loads(done.stdout) == effects
