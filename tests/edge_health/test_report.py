"""Reports as they are read: what counts as healthy, what is shared, and what is refused."""

from __future__ import annotations

import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.edge_health import report as module
from control_plane.edge_health.message import ReportMessage
from control_plane.edge_health.report import (
    NO_CLUSTERS,
    BadReport,
    ClusterHealth,
    EdgeHealth,
    LimitExceeded,
    ReportReader,
    apply_report,
)
from tests.support.health_messages import (
    DEGRADED,
    DRAINING,
    HEALTHY,
    TIMEOUT,
    UNHEALTHY,
    UNKNOWN,
    report,
)


@pytest.mark.parametrize(
    ("statuses", "health", "reachable"),
    [
        ([HEALTHY, UNHEALTHY], ClusterHealth(1, 0, 2), True),
        ([DEGRADED], ClusterHealth(1, 0, 1), True),
        ([UNHEALTHY, DRAINING, TIMEOUT], ClusterHealth(0, 0, 3), False),
        ([], ClusterHealth(0, 0, 0), False),
        ([UNKNOWN, UNHEALTHY], ClusterHealth(0, 1, 2), None),
        ([UNKNOWN, HEALTHY], ClusterHealth(1, 1, 2), True),
        ([77], ClusterHealth(0, 0, 1), False),
    ],
)
def test_what_an_edge_can_reach(
    statuses: list[int], health: ClusterHealth, reachable: bool | None
) -> None:
    after = apply_report(NO_CLUSTERS, report(a=statuses))
    assert after.clusters == {"a": health}
    assert health.reachable is reachable


async def test_reports_add_up_and_equal_ones_are_read_once() -> None:
    reader = ReportReader()
    first = await reader.apply(NO_CLUSTERS, report(a=[HEALTHY], b=[HEALTHY]))
    assert await reader.apply(NO_CLUSTERS, report(a=[HEALTHY], b=[HEALTHY])) is first
    second = await reader.apply(first, report(b=[UNHEALTHY]))
    assert second.clusters == {"a": ClusterHealth(1, 0, 1), "b": ClusterHealth(0, 0, 1)}
    assert await reader.apply(first, report(b=[UNHEALTHY])) is second
    assert await reader.apply(second, report()) is second
    assert first.clusters["b"] == ClusterHealth(1, 0, 1), "it never changes"


async def test_a_large_report_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    many = report(**{f"c{number}": [HEALTHY] * 3 for number in range(8_000)})
    assert len(many) > module.LARGE_BYTES
    readers: list[int] = []
    read = module.apply_report

    def noted(before: EdgeHealth, payload: bytes) -> EdgeHealth:
        readers.append(threading.get_ident())
        return read(before, payload)

    monkeypatch.setattr(module, "apply_report", noted)
    reader = ReportReader()
    health = await reader.apply(NO_CLUSTERS, many)
    assert len(health.clusters) == 8_000
    assert await reader.apply(NO_CLUSTERS, many) is health
    await reader.apply(health, report(a=[HEALTHY]))
    assert [one == threading.get_ident() for one in readers] == [False, True]


async def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLUSTERS", 2)
    monkeypatch.setattr(module, "MAX_ENDPOINTS", 3)
    reader = ReportReader()
    two = await reader.apply(NO_CLUSTERS, report(a=[HEALTHY], b=[HEALTHY]))
    for before, payload in (
        (NO_CLUSTERS, report(a=[], b=[], c=[])),
        (two, report(c=[])),
        (NO_CLUSTERS, report(a=[HEALTHY] * 4)),
        (NO_CLUSTERS, report(a=[HEALTHY] * 2, b=[HEALTHY] * 2)),
    ):
        with pytest.raises(LimitExceeded):
            await reader.apply(before, payload)
    for name in ("", "x" * (module.MAX_NAME + 1)):
        with pytest.raises(BadReport):
            await reader.apply(NO_CLUSTERS, report(**{name: [HEALTHY]}))
    monkeypatch.setattr(module, "_MAX_SHARED", 2)
    for number in range(10):
        await reader.apply(NO_CLUSTERS, report(**{f"c{number}": [HEALTHY]}))
    assert len(reader._results) <= 3


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"\x12" + tail)))
@example(b"\x12\x02\x12\x00")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    message = ReportMessage(payload)
    if message.broken or message.node is not None:
        return
    try:
        health = apply_report(NO_CLUSTERS, payload)
    except (BadReport, LimitExceeded):
        return
    assert all(isinstance(one, ClusterHealth) for one in health.clusters.values())


async def test_results_are_kept_only_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_SHARED_CLUSTERS", 5)
    reader = ReportReader()
    for number in range(10):
        names = {f"{number}-{one}": [HEALTHY] for one in range(2)}
        await reader.apply(NO_CLUSTERS, report(**names))
    assert len(reader._results) == 2
    assert reader._clusters == 4
