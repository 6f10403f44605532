"""How a client is shown: never as running what it does not, never with more words than one can read."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.session import Session
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, DeltaClient, SotwClient, boot

CLIENTS: dict[str, tuple[type[Any], type[Any]]] = {
    "delta": (DeltaSession, DeltaClient),
    "sotw": (SotwSession, SotwClient),
}


each = pytest.mark.parametrize("kind", CLIENTS)


def world(revision: int, clusters: str, body: bytes = b"1", routes: bytes = b"r") -> Snapshot:
    made = [Resource.of(LDS, "edge", b"edge"), Resource.of(RDS, "routes", routes)]
    return Snapshot(revision, [*made, *(Resource.of(CDS, name, body) for name in clusters)])


def booted(kind: str, snapshot: Snapshot) -> DeltaClient | SotwClient:
    session, client = CLIENTS[kind]
    made: DeltaClient | SotwClient = client(session(clock=Clock()))
    made.session.on_snapshot(snapshot)
    boot(made)
    assert states(made.session) == {CDS: "SYNCED", LDS: "SYNCED", RDS: "SYNCED"}
    return made


def states(session: Session) -> dict[str, str]:
    served = (one for one in session.statuses() if one.type_url != EDS)
    return {status.type_url: str(status.state) for status in served}


@each
def test_what_waits_for_another_type_is_not_synced(kind: str) -> None:
    client = booted(kind, world(1, "ab"))
    client.session.on_snapshot(world(2, "abc", routes=b"new"))
    assert states(client.session) == {CDS: "STALE", LDS: "SYNCED", RDS: "STALE"}
    served = (one for one in client.session.resources() if one.type_url != EDS)
    shown = {one.name: str(one.state) for one in served}
    assert shown == {"a": "ACKED", "b": "ACKED", "c": "SENT", "edge": "ACKED", "routes": "BEHIND"}


@each
def test_who_is_held_back_is_not_synced(kind: str) -> None:
    """It runs what it had, which is not what is published."""
    node = booted(kind, world(1, "abcdefgh"))
    session = CLIENTS[kind][0](clock=Clock())
    session.on_snapshot(world(2, ""))
    node.reconnect(session)
    assert session.shrink_reason
    assert session.acked_revision == 0
    assert states(session)[CDS] in {"STALE", "NOT_SENT"}
    shown = {str(one.state) for one in session.resources() if one.type_url == CDS}
    assert shown <= {"BEHIND"}
