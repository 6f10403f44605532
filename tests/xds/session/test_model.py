"""Random histories against an Envoy-faithful client: it ends with the truth, and never a gap.

A history has changes of what is published, resources that the client refuses for a while (as parts of
a response, in Envoy's order, or whole responses), cut streams, answers that come late, and time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import Resource
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.refusal import RETRY_MAX_S
from control_plane.xds.session.response import Response
from control_plane.xds.session.session import Session
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import (
    MAX_EXCHANGES,
    Clock,
    DeltaClient,
    SotwClient,
    boot,
    wanted,
)

NAMES = "abcdef"
FILTERS = ("filter", "other")
Shape = dict[str, int]
shapes = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), min_size=1)


def snapshot_of(revision: int, shape: Shape, filters: str = "") -> Snapshot:
    """Clusters in variants, one route table that names exactly these clusters, and filters."""
    made = [
        Resource.of(LDS, "edge", b"edge"),
        Resource.of(RDS, "routes", ",".join(sorted(shape)).encode()),
        *(
            Resource.of(ECDS, name, f"{name}{filters or len(shape) % 2}".encode())
            for name in FILTERS
        ),
    ]
    for name, variant in shape.items():
        made += [
            Resource.of(CDS, name, f"{name}{variant}".encode()),
            Resource.of(EDS, name, f"e{name}{variant % 2}".encode()),
        ]
    return Snapshot(revision, made)


class Checked(DeltaClient):
    """Also checks at each step that its routes name only clusters that it has, or has refused."""

    def apply(self, response: Response) -> list[Response]:
        more = super().apply(response)
        check_routes(self)
        return more


class CheckedSotw(SotwClient):
    """The same for state of the world."""

    def apply(self, response: Response) -> list[Response]:
        more = super().apply(response)
        check_routes(self)
        return more


def check_routes(client: DeltaClient | SotwClient) -> None:
    routes = client.has.get(RDS, {}).get("routes")
    if routes is None or client.refuses or client.refuses_bodies:
        return
    gone = set(routes.decode().split(",")) - client.has.get(CDS, {}).keys()
    assert not gone & client_had(client), f"a route names {gone}, which were taken away"


def client_had(client: DeltaClient | SotwClient) -> set[str]:
    """What was there when nothing was refused: only that can be taken away wrongly."""
    return getattr(client, "had", set())


@dataclass
class Step:
    """One step of a history."""

    shape: Shape | None = None
    refuses: set[str] | None = None
    refuses_bodies: set[bytes] | None = None
    whole: bool = False
    cut: bool = False
    answers: int = MAX_EXCHANGES - 1
    """How many responses are answered; the rest is still on its way."""
    seconds: float = 0.0


bodies = st.sets(
    st.sampled_from([f"{name}{variant}".encode() for name in "abc" for variant in (0, 1, 2)])
    | st.sampled_from([b"a,b", b"eb1", b"ec0", b"filter0", b"other1"]),
    max_size=3,
)
steps = st.builds(
    Step,
    shape=st.none() | shapes,
    refuses=st.none() | st.sets(st.sampled_from(NAMES), max_size=2),
    refuses_bodies=st.none() | bodies,
    whole=st.booleans(),
    cut=st.booleans(),
    answers=st.sampled_from([0, 1, 2, 3, MAX_EXCHANGES - 1]),
    seconds=st.sampled_from([0.0, 0.0, 0.6, 1.1, 12.0]),
)


@dataclass
class World:
    """A client, its stream's session, and the fleet that remembers it."""

    client: DeltaClient | SotwClient
    clock: Clock
    fleet: Fleet = field(default_factory=Fleet)
    revision: int = 1
    waiting: list[Response] = field(default_factory=list)
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(0, ()))
    settled: set[str] = field(default_factory=set)
    """Clusters that ran when the client was up to date, and were published ever since."""

    @property
    def session(self) -> Session:
        return self.client.session

    def new_session(self) -> DeltaSession | SotwSession:
        kind = DeltaSession if isinstance(self.client, DeltaClient) else SotwSession
        session = kind(clock=self.clock, guards_shrink=False)
        session.on_snapshot(self.snapshot)
        return session

    def cut(self, *, seen: bool) -> None:
        """The stream ends and the client comes again; what was on its way may have been seen."""
        if seen:
            self.client.session, ended = self.new_session(), self.client.session
            for response in self.waiting:
                self.client.apply(response)
            self.client.session = ended
        self.waiting = []
        self.fleet.disconnected("n", self.session)
        session = self.new_session()
        session.take_over(self.fleet.unsettled("n"))
        self.fleet.connected("n", "g", "1", session)
        self.waiting = self.client.reconnect(session)

    def step(self, step: Step) -> None:
        client = self.client
        client.refuses = client.refuses if step.refuses is None else step.refuses
        if step.refuses_bodies is not None:
            client.refuses_bodies = step.refuses_bodies
        client.refuses_whole = step.whole
        self.clock.now += step.seconds
        if step.shape is not None:
            self.revision += 1
            self.snapshot = snapshot_of(self.revision, step.shape)
            self.waiting += self.session.on_snapshot(self.snapshot)
        if step.cut:
            self.cut(seen=bool(step.answers))
        self.tick()
        self.answer(step.answers)
        self.settled &= self.snapshot.of_type(CDS).keys()
        lost = self.settled - client.has[CDS].keys()
        assert not lost, f"{lost} went, though published all the time"
        self.check()

    def tick(self) -> None:
        wake_at = self.session.wake_at
        if wake_at is not None and wake_at <= self.clock.now:
            self.waiting += self.session.on_time()
            wake_at = self.session.wake_at
            assert wake_at is None or wake_at > self.clock.now, "it would be woken for nothing"

    def answer(self, most: int = MAX_EXCHANGES) -> None:
        """Have the client answer what is on its way, and what its answers bring."""
        for _ in range(most):
            if not self.waiting:
                return
            self.waiting += self.client.apply(self.waiting.pop(0))
        assert most < MAX_EXCHANGES, f"it goes on and on: {self.waiting}"

    def check(self) -> None:
        """What the session says is what is true."""
        if {status.state for status in self.session.statuses()} == {"SYNCED"}:
            self.check_truth()
        if self.session.acked_revision != self.snapshot.revision:
            return
        assert all(not status.error for status in self.session.statuses())
        assert {status.state for status in self.session.statuses()} == {"SYNCED"}
        self.check_truth()
        self.settled = set(self.client.has[CDS])

    def check_truth(self) -> None:
        for type_url in (CDS, LDS, RDS, ECDS):
            assert self.client.has.get(type_url, {}) == wanted(self.snapshot, type_url), type_url
        for name, body in wanted(self.snapshot, EDS).items():
            assert self.client.has[EDS][name] == body

    def end(self) -> None:
        """All is well again: the client must get there, and the session must know it."""
        self.client.refuses, self.client.refuses_bodies = set(), set()
        self.client.refuses_whole = False
        self.answer()
        if not self.gets_there():
            # A filter that was refused before anything good was seen of it needs other bytes.
            stuck = [name for one in self.session.statuses() for name in one.rejected]
            assert stuck, "nothing was refused, and still it is not there"
            assert set(stuck) <= set(FILTERS)
            self.revision += 1
            shape = dict.fromkeys(self.snapshot.of_type(CDS), 0)
            self.snapshot = snapshot_of(self.revision, shape, "mended")
            self.waiting += self.session.on_snapshot(self.snapshot)
            self.answer()
            assert self.gets_there()
        self.check()

    def gets_there(self) -> bool:
        """Whether the client is up to date after some time."""
        for _ in range(60):
            if self.session.acked_revision == self.snapshot.revision:
                return True
            self.clock.now += RETRY_MAX_S
            self.tick()
            self.answer()
        return False


def world_of(kind: str, first: Shape) -> World:
    clock = Clock()
    client: DeltaClient | SotwClient = (
        DeltaClient(DeltaSession(clock=clock, guards_shrink=False))
        if kind == "delta"
        else SotwClient(SotwSession(clock=clock, guards_shrink=False))
    )
    world = World(client, clock)
    world.snapshot = snapshot_of(1, first)
    world.session.on_snapshot(world.snapshot)
    world.fleet.connected("n", "g", "1", world.session)
    boot(client)
    client.take(client.request(ECDS, *FILTERS))
    world.check_truth()
    return world


@pytest.mark.parametrize("kind", ["delta", "sotw"])
@given(first=shapes, history=st.lists(steps, max_size=8))
@settings(max_examples=200, deadline=None)
def test_what_the_client_is_said_to_run_is_what_it_runs(
    kind: str, first: Shape, history: list[Step]
) -> None:
    note(f"{kind} {first} {history}")
    world = world_of(kind, first)
    for step in history:
        world.step(step)
    world.end()


@given(st.lists(st.tuples(shapes, st.booleans()), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_delta_never_breaks_before_making(history: list[tuple[Shape, bool]]) -> None:
    snapshot = snapshot_of(1, history[0][0])
    client = Checked(DeltaSession())
    client.session.on_snapshot(snapshot)
    boot(client)
    client.take(client.request(ECDS, *FILTERS))
    waiting: list[Response] = []
    for revision, (shape, answer_now) in enumerate(history, 2):
        client.had = set(client.has[CDS])
        snapshot = snapshot_of(revision, shape)
        waiting += client.session.on_snapshot(snapshot)
        if answer_now:
            client.take(waiting)
            waiting = []
    client.take(waiting)
    assert client.session.acked_revision == snapshot.revision


@given(st.lists(shapes, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_state_of_the_world_never_breaks_before_making(history: list[Shape]) -> None:
    snapshot = snapshot_of(1, history[0])
    client = CheckedSotw(SotwSession())
    client.session.on_snapshot(snapshot)
    boot(client)
    client.take(client.request(ECDS, *FILTERS))
    for revision, shape in enumerate(history, 2):
        client.had = set(client.has[CDS])
        snapshot = snapshot_of(revision, shape)
        client.take(client.session.on_snapshot(snapshot))
    assert client.session.acked_revision == snapshot.revision


@given(shapes, shapes)
@settings(max_examples=100, deadline=None)
def test_delta_reconnects_to_another_server_without_a_gap(before: Shape, after: Shape) -> None:
    client = Checked(DeltaSession())
    client.session.on_snapshot(snapshot_of(1, before))
    boot(client)
    client.take(client.request(ECDS, *FILTERS))
    client.had = set(client.has[CDS])
    second = DeltaSession(guards_shrink=False)
    newer = snapshot_of(2, after)
    second.on_snapshot(newer)
    client.log.clear()
    client.take(client.reconnect(second))
    for type_url in (CDS, LDS, RDS, ECDS):
        assert client.has[type_url] == wanted(newer, type_url)
    if before == after:
        assert client.log == []
