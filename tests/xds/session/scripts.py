"""Sessions with a client that answers, and what is published, for scripts of requests and responses."""

from __future__ import annotations

from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.session.status import TypeStatus
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, DeltaClient, SotwClient


def res(type_url: str, name: str, body: bytes = b"1") -> Resource:
    return Resource.of(type_url, name, body)


def fleet(revision: int, clusters: str, *, routes: bytes = b"r", **bodies: bytes) -> Snapshot:
    """Clusters with endpoints of the same names, one listener and one route table."""
    made = [res(LDS, "edge"), res(RDS, "routes", routes)]
    for name in clusters:
        made += [res(CDS, name, bodies.get(name, b"c")), res(EDS, name, b"e" + name.encode())]
    return Snapshot(revision, made)


def delta(snapshot: Snapshot, clock: Clock | None = None) -> DeltaClient:
    session = DeltaSession(clock=clock or Clock())
    session.on_snapshot(snapshot)
    return DeltaClient(session)


def sotw(snapshot: Snapshot, clock: Clock | None = None) -> SotwClient:
    session = SotwSession(clock=clock or Clock())
    session.on_snapshot(snapshot)
    return SotwClient(session)


def status_of(client: DeltaClient | SotwClient, type_url: str) -> TypeStatus:
    (status,) = (one for one in client.session.statuses() if one.type_url == type_url)
    return status
