"""What counts as acknowledged: the recording against the messages of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.edge_agent.recording import Recording
from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.edge_agent.store import OlderRevision
from control_plane.names import CDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot

Request: Any = discovery_pb2.DeltaDiscoveryRequest


class Stream:
    """Both ends of a stream that is recorded."""

    def __init__(self, known: SavedSnapshot | None = None) -> None:
        self.recording = Recording(known)
        self._nonce = 0

    def ask(self, type_url: str, *names: str, **has: str) -> Any:
        request = Request(
            type_url=type_url,
            resource_names_subscribe=names,
            initial_resource_versions=has,
        )
        request.node.cluster = "edge"
        assert not self.recording.on_request(request)
        return request

    def send(self, revision: int, type_url: str, *names: str, removed: tuple[str, ...] = ()) -> str:
        self._nonce += 1
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url,
            system_version_info=str(revision),
            nonce=str(self._nonce),
            removed_resources=removed,
        )
        for name in names:
            one = response.resources.add(name=name, version=f"{name}@{revision}")
            one.resource.type_url = type_url
            one.resource.value = f"{name} of {revision}".encode()
        self.recording.on_response(response)
        return str(response.nonce)

    def answer(self, type_url: str, nonce: str, *, nack: bool = False) -> bool:
        request = Request(type_url=type_url, response_nonce=nonce)
        if nack:
            request.error_detail.message = "no"
        return self.recording.on_request(request)

    def exchange(self, revision: int, type_url: str, *names: str) -> None:
        assert self.answer(type_url, self.send(revision, type_url, *names))

    def has(self) -> dict[str, set[str]]:
        """Versions of what would be saved, by type's last word."""
        saved = self.recording.snapshot()
        assert saved is not None
        return {
            type_url.rpartition(".")[2]: {
                one.version for one in saved.snapshot.of_type(type_url).values()
            }
            for type_url in saved.snapshot.types
        }


@pytest.fixture
def stream() -> Stream:
    """An Envoy that has booted at revision 5."""
    stream = Stream()
    stream.ask(CDS)
    stream.exchange(5, CDS, "a", "b")
    stream.ask(LDS)
    stream.exchange(5, LDS, "edge")
    stream.ask(RDS, "routes")
    stream.exchange(5, RDS, "routes")
    return stream


def test_a_booting_envoy_is_kept_once_it_has_all_that_it_asked_for() -> None:
    stream = Stream()
    stream.ask(CDS)
    stream.exchange(5, CDS, "a")
    assert stream.recording.snapshot() is None
    stream.ask(LDS)
    nonce = stream.send(5, LDS, "edge")
    stream.ask(RDS, "routes")
    stream.answer(LDS, nonce)
    assert stream.recording.snapshot() is None
    stream.exchange(5, RDS, "routes")
    saved = stream.recording.snapshot()
    assert saved is not None
    assert (saved.revision, saved.group) == (5, "edge")
    assert saved.snapshot.of_type(RDS)["routes"].body == b"routes of 5"


def test_what_is_not_answered_or_refused_is_not_kept(stream: Stream) -> None:
    unanswered = stream.send(6, CDS, "a")
    assert stream.has()["Cluster"] == {"a@5", "b@5"}
    assert not stream.answer(CDS, unanswered, nack=True)
    assert stream.has()["Cluster"] == {"a@5", "b@5"}
    assert not stream.answer(CDS, unanswered)
    stream.exchange(7, CDS, "a")
    assert stream.has()["Cluster"] == {"a@7", "b@5"}
    saved = stream.recording.snapshot()
    assert saved is not None
    assert saved.revision == 7


def test_what_is_removed_or_given_up_goes(stream: Stream) -> None:
    nonce = stream.send(6, CDS, removed=("b",))
    assert stream.has()["Cluster"] == {"a@5", "b@5"}
    stream.answer(CDS, nonce)
    assert stream.has()["Cluster"] == {"a@5"}
    stream.recording.on_request(Request(type_url=RDS, resource_names_unsubscribe=["routes"]))
    assert "RouteConfiguration" not in stream.has()


def test_a_name_that_does_not_exist_holds_nothing_back(stream: Stream) -> None:
    stream.recording.on_request(Request(type_url=RDS, resource_names_subscribe=["nowhere"]))
    assert stream.recording.snapshot() is None
    stream.answer(RDS, stream.send(6, RDS, removed=("nowhere",)))
    assert stream.has()["RouteConfiguration"] == {"routes@5"}


def test_without_a_listener_there_is_nothing_to_keep(stream: Stream) -> None:
    stream.answer(LDS, stream.send(6, LDS, removed=("edge",)))
    assert stream.recording.snapshot() is None


def test_after_a_reconnect_what_is_known_needs_not_come_again(stream: Stream) -> None:
    again = Stream(stream.recording.snapshot())
    forwarded = again.ask(CDS, a="a@5", b="b@4", c="c@5")
    # What is not known here, or in another version, is to be sent again, or told as removed.
    assert dict(forwarded.initial_resource_versions) == {"a": "a@5", "b": "", "c": ""}
    again.ask(LDS, edge="edge@5")
    again.ask(RDS, "routes", routes="routes@5")
    nonce = again.send(5, CDS, "b", removed=("c",))
    assert again.answer(CDS, nonce)
    assert again.has() == stream.has()
    saved = again.recording.snapshot()
    assert saved is not None
    assert saved.revision == 5


def test_an_older_revision_is_not_passed_on(stream: Stream) -> None:
    stream.send(7, CDS, "a")
    with pytest.raises(OlderRevision, match="at revision 6; this edge has had 7"):
        stream.send(6, CDS, "a")
    known = SavedSnapshot(Snapshot(9, [Resource.of(CDS, "a", b"")]), "edge")
    empty = Stream(known)
    empty.ask(CDS)
    with pytest.raises(OlderRevision):
        empty.send(0, CDS)


def test_a_server_that_is_no_cellway_is_not_recorded(stream: Stream) -> None:
    response = discovery_pb2.DeltaDiscoveryResponse(type_url=CDS, system_version_info="v1")
    with pytest.raises(ValueError, match="'v1' is no revision"):
        stream.recording.on_response(response)


def test_of_many_that_are_not_known_none_is_passed_over() -> None:
    names = [f"cluster-{number}" for number in range(300)]
    request = Stream().ask(CDS, **dict.fromkeys(names, "1"))
    assert dict(request.initial_resource_versions) == dict.fromkeys(names, "")
