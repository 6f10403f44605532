"""Figures are kept, and a run of one benchmark keeps those of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import results
from bench.results import Figure, p99, report


def test_p99_is_the_value_that_one_of_a_hundred_exceeds() -> None:
    assert p99(range(200)) == 198
    assert p99([3.0, 1.0]) == 3.0


def test_the_newest_figures_stand_beside_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "LATEST", tmp_path / "results" / "latest.json")
    report({"a": Figure(1.0, "ms", "lower", "", 1), "b": Figure(2.0, "ms", "lower", "", 1)})
    report({"b": Figure(0.5, "ratio", "higher", "bare Envoy", 3)})
    latest = json.loads(results.LATEST.read_text())
    assert latest["a"]["value"] == 1.0
    assert latest["b"] == {
        "value": 0.5, "unit": "ratio", "better": "higher", "baseline": "bare Envoy", "runs": 3,
    }  # fmt: skip
    assert "b: 0.500 ratio (÷ bare Envoy), 3 runs" in capsys.readouterr().out
