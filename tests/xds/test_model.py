"""Random histories against an Envoy-faithful client: it ends with the truth, and never a gap."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.xds.delta import DeltaSession
from control_plane.xds.resource import CDS, EDS, LDS, RDS, Resource
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.sotw import SotwSession
from control_plane.xds.type_state import Response
from tests.xds.envoy_model import DeltaClient, SotwClient, boot, wanted

NAMES = "abcdef"
Shape = dict[str, int]
shapes = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), min_size=1)


def snapshot_of(revision: int, shape: Shape) -> Snapshot:
    """Clusters in variants, and one route table that names exactly these clusters."""
    made = [
        Resource.of(LDS, "edge", b"edge"),
        Resource.of(RDS, "routes", ",".join(sorted(shape)).encode()),
    ]
    for name, variant in shape.items():
        made += [
            Resource.of(CDS, name, f"{name}{variant}".encode()),
            Resource.of(EDS, name, f"e{name}{variant % 2}".encode()),
        ]
    return Snapshot(revision, made)


class Checked(DeltaClient):
    """Also checks at each step that its routes name only clusters that it has."""

    def __init__(self, session: DeltaSession, bodies: dict[str, str]) -> None:
        super().__init__(session)
        self._bodies = bodies

    def apply(self, response: Response) -> list[Response]:
        for resource in response.resources:
            self._bodies[resource.version] = resource.body.decode()
        more = super().apply(response)
        routes = self.has.get(RDS, {}).get("routes")
        if routes is not None:
            named = set(self._bodies[routes].split(","))
            assert named <= self.has.get(CDS, {}).keys(), "a route names a cluster that is gone"
        return more


@given(st.lists(st.tuples(shapes, st.booleans()), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_delta_ends_with_the_truth_and_never_breaks_before_making(
    history: list[tuple[Shape, bool]],
) -> None:
    bodies: dict[str, str] = {}
    snapshot = snapshot_of(1, history[0][0])
    client = Checked(DeltaSession(), bodies)
    client.session.on_snapshot(snapshot)
    boot(client)
    waiting: list[Response] = []
    for revision, (shape, answer_now) in enumerate(history, 2):
        snapshot = snapshot_of(revision, shape)
        waiting += client.session.on_snapshot(snapshot)
        if answer_now:
            client.take(waiting)
            waiting = []
    client.take(waiting)
    for type_url in (CDS, LDS, RDS):
        assert client.has[type_url] == wanted(snapshot, type_url)
    for name, version in wanted(snapshot, EDS).items():
        assert client.has[EDS][name] == version
    assert client.session.acked_revision == snapshot.revision


@given(shapes, shapes)
@settings(max_examples=100, deadline=None)
def test_delta_reconnects_to_another_server_without_a_gap(before: Shape, after: Shape) -> None:
    bodies: dict[str, str] = {}
    first = Checked(DeltaSession(), bodies)
    first.session.on_snapshot(snapshot_of(1, before))
    boot(first)
    second = Checked(DeltaSession(), bodies)
    second.session.guards_shrink = False
    second.has = {url: dict(has) for url, has in first.has.items()}
    newer = snapshot_of(2, after)
    second.session.on_snapshot(newer)
    for type_url in (CDS, EDS, LDS, RDS):
        names = first.names.get(type_url, set()) if type_url in {EDS, RDS} else set()
        versions = first.has.get(type_url, {})
        second.take(second.request(type_url, *names, initial_resource_versions=versions))
    for type_url in (CDS, LDS, RDS):
        assert second.has[type_url] == wanted(newer, type_url)
    if before == after:
        assert second.log == []


@given(st.lists(shapes, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_state_of_the_world_ends_with_the_truth(history: list[Shape]) -> None:
    snapshot = snapshot_of(1, history[0])
    client = SotwClient(SotwSession())
    client.session.on_snapshot(snapshot)
    boot(client)
    for revision, shape in enumerate(history, 2):
        snapshot = snapshot_of(revision, shape)
        client.take(client.session.on_snapshot(snapshot))
    for type_url in (CDS, LDS):
        assert client.has[type_url].keys() == snapshot.of_type(type_url).keys()
    for type_url in (CDS, RDS, EDS):
        for name, resource in snapshot.of_type(type_url).items():
            assert client.has[type_url][name] == resource.body
    assert client.session.acked_revision == snapshot.revision
