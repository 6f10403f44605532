"""Two control planes tell each other which Envoys they miss, and which they have."""

from __future__ import annotations

from pathlib import Path

from control_plane.server.fleet_report import fleet_report, own_id
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.session.delta import DeltaSession


def test_an_envoy_that_goes_to_another_server_is_not_missed() -> None:
    one, two = Fleet(), Fleet()
    of_one, of_two = fleet_report(one, 1), fleet_report(two, 2)
    session = DeltaSession()
    one.connected("edge-1", "edge", "1.40.0", session)
    one.disconnected("edge-1", session)
    two.connected("edge-1", "edge", "1.40.0", DeltaSession())
    asked = of_one([])
    assert asked.missing == ("edge-1",)
    answered = of_two([asked])
    assert answered.found == ("edge-1",)
    assert of_one([answered]).missing == ()
    assert one.nodes() == ()


def test_a_report_counts_who_runs_what_is_published() -> None:
    fleet = Fleet()
    report = fleet_report(fleet, 1)
    fleet.publication.published(7)
    assert (report([]).acked, report([]).nodes) == (7, 0)
    for number, acked in enumerate((7, 5)):
        session = DeltaSession()
        session.acked_revision = acked
        fleet.connected(f"edge-{number}", "edge", "1.40.0", session)
    told = report([])
    assert (told.published, told.acked, told.nodes, told.running) == (7, 5, 2, 1)
    assert told.lagging == ("edge-1",)


def test_a_control_plane_keeps_its_id_and_shares_it_with_no_other(tmp_path: Path) -> None:
    assert own_id(1, tmp_path) == own_id(1, tmp_path)
    assert len({own_id(1, tmp_path), own_id(2, tmp_path), own_id(1, tmp_path / "b")}) == 3
