"""Reports as they are read: what counts as healthy, what is shared, and what is refused."""

from __future__ import annotations

import threading

import pytest
from envoy.service.health.v3 import hds_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.edge_health import report as module
from control_plane.edge_health.report import (
    NOTHING,
    BadReport,
    Held,
    Message,
    TooMuch,
    View,
    Views,
    view_after,
)
from tests.support.health_messages import (
    DEGRADED,
    DRAINING,
    HEALTHY,
    TIMEOUT,
    UNHEALTHY,
    UNKNOWN,
    hello,
    report,
)


@pytest.mark.parametrize(
    ("statuses", "held", "says"),
    [
        ([HEALTHY, UNHEALTHY], Held(1, 0, 2), True),
        ([DEGRADED], Held(1, 0, 1), True),
        ([UNHEALTHY, DRAINING, TIMEOUT], Held(0, 0, 3), False),
        ([], Held(0, 0, 0), False),
        ([UNKNOWN, UNHEALTHY], Held(0, 1, 2), None),
        ([UNKNOWN, HEALTHY], Held(1, 1, 2), True),
        ([77], Held(0, 0, 1), False),
    ],
)
def test_what_an_edge_can_reach(statuses: list[int], held: Held, says: bool | None) -> None:
    view = view_after(NOTHING, report(a=statuses))
    assert view.clusters == {"a": held}
    assert held.says is says


async def test_reports_add_up_and_equal_ones_are_read_once() -> None:
    views = Views()
    first = await views.after(NOTHING, report(a=[HEALTHY], b=[HEALTHY]))
    assert await views.after(NOTHING, report(a=[HEALTHY], b=[HEALTHY])) is first
    second = await views.after(first, report(b=[UNHEALTHY]))
    assert second.clusters == {"a": Held(1, 0, 1), "b": Held(0, 0, 1)}
    assert await views.after(first, report(b=[UNHEALTHY])) is second
    assert await views.after(second, report()) is second
    assert first.clusters["b"] == Held(1, 0, 1), "a view never changes"


async def test_a_large_report_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    many = report(**{f"c{number}": [HEALTHY] * 3 for number in range(8_000)})
    assert len(many) > module.LARGE_BYTES
    readers: list[int] = []
    read = module.view_after

    def noted(before: View, payload: bytes) -> View:
        readers.append(threading.get_ident())
        return read(before, payload)

    monkeypatch.setattr(module, "view_after", noted)
    views = Views()
    view = await views.after(NOTHING, many)
    assert len(view.clusters) == 8_000
    assert await views.after(NOTHING, many) is view
    await views.after(view, report(a=[HEALTHY]))
    assert [one == threading.get_ident() for one in readers] == [False, True]


async def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLUSTERS", 2)
    monkeypatch.setattr(module, "MAX_ENDPOINTS", 3)
    views = Views()
    two = await views.after(NOTHING, report(a=[HEALTHY], b=[HEALTHY]))
    for ground, payload in (
        (NOTHING, report(a=[], b=[], c=[])),
        (two, report(c=[])),
        (NOTHING, report(a=[HEALTHY] * 4)),
        (NOTHING, report(a=[HEALTHY] * 2, b=[HEALTHY] * 2)),
    ):
        with pytest.raises(TooMuch):
            await views.after(ground, payload)
    for name in ("", "x" * (module.MAX_NAME + 1)):
        with pytest.raises(BadReport):
            await views.after(NOTHING, report(**{name: [HEALTHY]}))
    monkeypatch.setattr(module, "_SHARED", 2)
    for number in range(10):
        await views.after(NOTHING, report(**{f"c{number}": [HEALTHY]}))
    assert len(views._known) <= 3
    monkeypatch.setattr(module, "MAX_REPORT_BYTES", 10)
    assert "at most 10" in Message(report(a=[HEALTHY] * 5)).broken


def test_a_message_names_a_node_or_reports_and_never_both() -> None:
    named = Message(hello("n", "g"))
    assert (named.HasField("node"), named.node.id, named.node.cluster) == (True, "n", "g")
    assert not Message(report(a=[HEALTHY])).HasField("node")
    # protobuf lets the last field of a oneof win: neither order smuggles a node past the guard.
    hidden = Message(report(a=[HEALTHY]) + hello("other"))
    assert not hidden.HasField("node")
    with pytest.raises(BadReport, match="both"):
        view_after(NOTHING, hidden.payload)
    assert Message(hello("other") + report(a=[HEALTHY])).broken
    assert Message(hds_pb2.HealthCheckRequestOrEndpointHealthResponse().SerializeToString()).broken
    request = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    request.health_check_request.SetInParent()
    assert Message(request.SerializeToString()).broken == "names no node"


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"\x12" + tail)))
@example(b"\x12\x02\x12\x00")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    message = Message(payload)
    if message.broken or message.node is not None:
        return
    try:
        view = view_after(NOTHING, payload)
    except (BadReport, TooMuch):
        return
    assert all(isinstance(held, Held) for held in view.clusters.values())
