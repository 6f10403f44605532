"""All benchmarks run, whatever becomes of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, chosen, run

SCRIPTS = {
    "fails": "raise RuntimeError('no Envoy')",
    "dies": "import os; os.kill(os.getpid(), 9)",
    "hangs": "import subprocess; subprocess.run(['sleep', '600'])",
    "works": "import sys, pathlib; pathlib.Path(sys.argv[1]).touch()",
}


def test_a_benchmark_that_fails_dies_or_hangs_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name, text in SCRIPTS.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = tmp_path / "done"
    arguments = {name: (str(done),) for name in SCRIPTS}
    failed = run(arguments, "benchmarks", longest_s=2)
    assert failed == {
        "fails": "exit status 1",
        "dies": "exit status -9",
        "hangs": "not done after 2 s",
    }
    assert done.exists()


def test_benchmarks_are_chosen_by_name() -> None:
    assert chosen([]) == BENCHMARKS
    assert list(chosen(["moves"])) == ["moves"]
    with pytest.raises(SystemExit, match="no benchmark move; there are: data_plane"):
        chosen(["move"])
