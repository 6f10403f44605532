"""Who a bearer token says that the caller is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.api.auth import CALLER
from control_plane.api.callers import Callers
from control_plane.api.middleware.authentication import Authentication
from control_plane.topology import Scope, Topology
from control_plane.topology.values.errors import Unavailable
from tests.api.middleware.connection import Connection, InnerApp, sent_to

TOKEN = "s3cret"


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


async def sent(
    topology: Topology, inner: InnerApp, authorization: str | None, token: str | None = TOKEN
) -> Connection:
    headers = [(b"Authorization", authorization.encode())] if authorization is not None else []
    return await sent_to(Authentication(inner, Callers(topology, token), print), headers=headers)


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer   {TOKEN}  "])
async def test_the_configured_token_is_an_admin_s(topology: Topology, authorization: str) -> None:
    inner = InnerApp()
    assert (await sent(topology, inner, authorization)).status == 200
    caller = inner.scopes[0][CALLER]
    assert (caller.id, caller.scope) == ("", Scope.ADMIN)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"],
)
async def test_others_are_refused(topology: Topology, authorization: str | None) -> None:
    inner = InnerApp()
    refused = await sent(topology, inner, authorization)
    assert (refused.status, refused.headers[b"www-authenticate"]) == (401, b"Bearer")
    assert inner.scopes == []


async def test_a_token_of_the_topology_s_names_its_caller_until_it_is_revoked(
    topology: Topology,
) -> None:
    made = topology.tokens.create("ci", Scope.VIEWER, actor="test", life=None).value
    for token in (TOKEN, None):
        inner = InnerApp()
        assert (await sent(topology, inner, f"Bearer {made.secret}", token)).status == 200
        caller = inner.scopes[0][CALLER]
        assert (caller.id, caller.name, caller.scope) == (made.token.id, "ci", Scope.VIEWER)
    topology.tokens.revoke("ci", actor="test")
    for token in (TOKEN, None):
        assert (await sent(topology, InnerApp(), f"Bearer {made.secret}", token)).status == 401


async def test_without_a_configured_token_every_caller_is_an_admin(topology: Topology) -> None:
    inner = InnerApp()
    assert (await sent(topology, inner, None, token=None)).status == 200
    assert inner.scopes[0][CALLER].scope is Scope.ADMIN


async def test_two_credentials_are_none(topology: Topology) -> None:
    inner = InnerApp()
    twice = [(b"authorization", f"Bearer {TOKEN}".encode())] * 2
    assert (
        await sent_to(Authentication(inner, Callers(topology, TOKEN), print), headers=twice)
    ).status == 401
    assert inner.scopes == []


async def test_a_stranger_s_body_is_left_unread(topology: Topology) -> None:
    app = Authentication(InnerApp(), Callers(topology, TOKEN), print)
    for path in ("/v1/cells", "/healthz"):
        refused = await sent_to(app, b"x", path=path)
        assert refused.status == 401
        assert (await refused.receive())["body"] == b"x"


async def test_probes_need_no_token(topology: Topology) -> None:
    app = Authentication(InnerApp(), Callers(topology, TOKEN), print)
    assert (await sent_to(app, method="GET", path="/readyz")).status == 200


async def test_a_topology_that_can_t_be_read_is_a_problem(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = topology.tokens.create("ci", Scope.VIEWER, actor="test", life=None).value.secret
    topology.close()
    inner = InnerApp()

    def fails(_: str) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(topology.tokens, "verify", fails)
    assert (await sent(topology, inner, f"Bearer {secret}")).status == 503
    assert inner.scopes == []
