"""A scrape must not read ten million claims each time."""

from __future__ import annotations

import threading

import pytest

from control_plane.metrics import claim_counts
from control_plane.metrics.claim_counts import ClaimCounts


async def test_a_slow_count_is_made_seldom_and_a_quick_one_each_time() -> None:
    now = [0.0]
    takes = [3.0]
    counted: list[float] = []

    def count() -> dict[str, int]:
        counted.append(now[0])
        now[0] += takes[0]
        return {"route": len(counted)}

    counts = ClaimCounts(count, lambda: now[0])
    assert await counts.get() == {"route": 1}
    now[0] += 290
    assert await counts.get() == {"route": 1}
    now[0] += 20
    takes[0] = 0.0
    assert await counts.get() == {"route": 2}
    assert await counts.get() == {"route": 3}


async def test_a_scrape_does_not_wait_for_a_count_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claim_counts, "PATIENCE_S", 0.01)
    go = threading.Event()
    now = [0.0]

    def count() -> dict[str, int]:
        go.wait(10)
        return {"route": 1}

    counts = ClaimCounts(count, lambda: now[0])
    assert await counts.get() == {}
    assert await counts.get() == {}
    go.set()
    await counts.close()
    assert await counts.get() == {"route": 1}
