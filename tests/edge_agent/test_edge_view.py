"""What is read from Envoy again, and what of that is reported."""

from __future__ import annotations

from control_plane.edge_agent.admin import Cluster
from control_plane.edge_agent.edge_view import REREAD_S, WARM_S, Changes, EdgeView
from control_plane.edge_agent.reporter import report
from control_plane.edge_health.report import NO_CLUSTERS, ClusterHealth, apply_report
from tests.support.health_messages import HEALTHY, UNHEALTHY, UNKNOWN


def cluster(name: str, *statuses: int, dynamic: bool = True) -> Cluster:
    endpoints = tuple(("10.0.0.1", port, status) for port, status in enumerate(statuses, 1))
    return Cluster(name, endpoints, dynamic)


def gauges(**members: tuple[int, int]) -> dict[str, int]:
    return {
        f"cluster.{name}.membership_{which}": value
        for name, pair in members.items()
        for which, value in zip(("healthy", "total"), pair, strict=True)
    }


def test_only_what_may_have_changed_is_asked_for() -> None:
    view = EdgeView()
    view.read_all({"cell:a": cluster("a", HEALTHY), "cell:b": cluster("b", HEALTHY)}, 0)
    both = gauges(a=(1, 1), b=(1, 1))
    view.clusters_to_read(both, 1)
    assert view.clusters_to_read(both, 2) == frozenset()
    assert view.clusters_to_read(gauges(a=(0, 1), b=(1, 1)), 3) == frozenset({"cell:a"})
    view.read_some({"cell:a"}, {"cell:a": cluster("a", UNKNOWN)}, 3)
    # Not checked yet: its gauges may stay as they are.
    assert view.clusters_to_read(gauges(a=(0, 1), b=(1, 1)), 4) == frozenset({"cell:a"})
    view.read_some({"cell:a"}, {"cell:a": cluster("a", UNHEALTHY)}, 4)
    assert view.clusters_to_read(gauges(a=(0, 1), b=(1, 1)), 5) == frozenset()
    # Warming: in stats and nowhere else; asked for by that name until it is there.
    three = gauges(a=(0, 1), b=(1, 1), c=(0, 1))
    assert view.clusters_to_read(three, 6) == frozenset({"c"})
    view.read_some({"c"}, {}, 6)
    assert view.clusters_to_read(three, 7) == frozenset({"c"})
    view.read_some({"c"}, {"cell:c": cluster("c", HEALTHY)}, 7)
    assert view.clusters_to_read(three, 8) == frozenset()
    assert view.clusters_to_read(gauges(a=(0, 1), c=(0, 1)), 9) is None, "one is gone"
    assert view.clusters_to_read(three, REREAD_S) is None
    assert EdgeView().clusters_to_read({}, 0) is None
    many = gauges(**{f"c{number}": (1, 1) for number in range(200)})
    assert view.clusters_to_read(three | many, 9) is None


def test_only_what_was_not_reported_before_is_reported() -> None:
    view = EdgeView()
    a, b = cluster("a", HEALTHY), cluster("b", UNHEALTHY)
    view.read_all({"cell:a": a, "cell:b": b, "xds": cluster("xds", HEALTHY, dynamic=False)}, 0)
    assert view.changes(0) == Changes(False, {"cell:a": a, "cell:b": b})
    assert view.changes(0) == Changes(False, {})
    view.read_some({"cell:a"}, {"cell:a": cluster("a", UNHEALTHY)}, 1)
    assert view.changes(1) == Changes(False, {"cell:a": cluster("a", UNHEALTHY)})
    view.read_all({"cell:b": b}, 2)
    assert view.changes(2) == Changes(True, {"cell:b": b})


def test_a_name_that_is_being_resolved_is_reported_only_if_it_stays_empty() -> None:
    view = EdgeView()
    view.read_all({"cell:a": cluster("a")}, 0)
    assert view.changes(0) == Changes(False, {})
    view.read_all({"cell:a": cluster("a")}, WARM_S - 0.1)
    assert view.changes(WARM_S - 0.1) == Changes(False, {})
    assert view.changes(WARM_S) == Changes(False, {"cell:a": cluster("a")})
    view.read_all({"cell:a": cluster("a", HEALTHY)}, 10)
    assert view.changes(10) == Changes(False, {"cell:a": cluster("a", HEALTHY)})


def test_a_report_says_what_was_read() -> None:
    clusters = {
        "cell:b": cluster("b", HEALTHY, UNHEALTHY),
        "cell:a": Cluster("a", (("/run/a.sock", 0, HEALTHY),)),
        "cell:c": cluster("c"),
    }
    payload = report(clusters).SerializeToString(deterministic=True)
    assert payload == report(dict(reversed(clusters.items()))).SerializeToString(deterministic=True)
    assert apply_report(NO_CLUSTERS, payload).clusters == {
        "cell:a": ClusterHealth(1, 0, 1),
        "cell:b": ClusterHealth(1, 0, 2),
        "cell:c": ClusterHealth(0, 0, 0),
    }
