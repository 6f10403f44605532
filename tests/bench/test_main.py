"""All benchmarks run, whatever becomes of one."""

from __future__ import annotations

import pytest

from bench.__main__ import run


def test_a_benchmark_that_fails_leaves_the_others_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[str] = []

    def fails() -> None:
        raise RuntimeError("no Envoy")

    failed = run({"a": fails, "b": lambda: ran.append("b")})
    assert (failed, ran) == (["a"], ["b"])
    assert "no Envoy" in capsys.readouterr().err
