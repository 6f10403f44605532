"""How a client is shown: never as running what it does not, never with more words than one can read."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.session import subscription
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.ledger import MAX_ERROR
from control_plane.xds.session.session import Session
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.session.status import MAX_ERRORS
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import Wire, answer, clusters, first, read, until
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
    assert session.shrunk
    assert session.acked_revision == 0
    assert states(session)[CDS] in {"STALE", "NOT_SENT"}
    shown = {str(one.state) for one in session.resources() if one.type_url == CDS}
    assert shown <= {"BEHIND"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no\n \x1b[31mgood\t", "no   [31mgood"),
        ("", "refused without a word"),
        ("x" * 1_000_000, "x" * MAX_ERROR + "…"),
    ],
    ids=["control characters", "empty", "long"],
)
async def test_a_text_is_one_line_that_can_be_kept_and_shown(text: str, shown: str) -> None:
    async with Wire() as wire:
        wire.cache.set(clusters(1, "a"))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first("n1"))
        refusal = answer(await read(call), "?")
        refusal.error_detail.message = text
        await call.write(refusal)
        await until(lambda: any(node.state == "NACKED" for node in wire.fleet.nodes()))
        (status,) = wire.fleet.nodes()[0].types
        assert status.error == shown
        call.cancel()


async def test_each_text_of_many_refused_resources_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "RETRY_MIN_S", 0.01)
    monkeypatch.setattr(subscription, "RETRY_MAX_S", 0.01)
    names = [f"c{number:02d}" for number in range(MAX_ERRORS + 5)]
    tries = dict.fromkeys(names, 0)
    async with Wire() as wire:
        wire.cache.set(clusters(1, *names))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first("n1"))
        while min(tries.values()) < 3:
            response = await read(call)
            said = [one.name for one in response.resources]
            for name in said:
                tries[name] += len(said) == 1
            await call.write(answer(response, f"bad: {' '.join(said)}"))
        (status,) = wire.fleet.nodes()[0].types
        assert status.rejected == tuple(names)
        assert status.error.endswith("; and 5 more")
        assert status.error.count("bad: ") == MAX_ERRORS
        call.cancel()
    logged = [one.getMessage() for one in caplog.records if "NACKed" in one.getMessage()]
    assert len(logged) == len(set(logged)) >= len(names)
