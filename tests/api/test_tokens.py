"""Tokens: who may do what, for every operation there is; and no secret anywhere but in one answer."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from control_plane.api import auth
from control_plane.settings import Settings
from control_plane.topology import Scope, Topology
from control_plane.topology.storage import schema
from control_plane.topology.values.errors import AlreadyExists, Invalid, NotFound
from tests.support.plane import plane_with
from tests.topology.conftest import cell_spec

ME = "tester"
BOOTSTRAP = "s3cret-of-the-configuration"
ADMINS = {
    "GET /v1/tokens",
    "POST /v1/tokens",
    "DELETE /v1/tokens/{token}",
    "POST /v1/edge-secret/rotate",
    "POST /v1/sequences/confirm",
    "POST /v1/cells/{name}/release-claims",
}
READ_BY_POST = {
    "POST /v1/claims/owners",
    "POST /v1/explain",
    "POST /v1/simulate",
    "POST /v1/rulesets/lint",
    "POST /v1/classify",
}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def scopes(document: dict[str, Any]) -> dict[str, Scope]:
    """The scope of each operation, as the description says."""
    found: dict[str, Scope] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path not in auth.OPEN_PATHS:
                found[f"{method.upper()} {path}"] = Scope(operation[auth.ROLE_KEY])
    return found


def expected(label: str) -> Scope:
    if label in ADMINS:
        return Scope.ADMIN
    reads = label.startswith("GET ") or label in READ_BY_POST
    return Scope.VIEWER if reads else Scope.OPERATOR


@pytest.mark.slow
async def test_every_operation_asks_for_its_scope(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=BOOTSTRAP) as (plane, client):
        made = {s: plane.topology.tokens.create(str(s), s, actor=ME).value for s in Scope}
        described = await client.get("/openapi.json", headers=bearer(made[Scope.VIEWER].secret))
        wanted = scopes(described.json())
        assert len(wanted) >= 40
        assert wanted == {label: expected(label) for label in wanted}
        assert wanted.keys() >= ADMINS | READ_BY_POST
        revoked = plane.topology.tokens.create("gone", Scope.ADMIN, actor=ME).value
        plane.topology.tokens.revoke("gone", actor=ME)
        expired = plane.topology.tokens.create(
            "old", Scope.ADMIN, actor=ME, life=timedelta(hours=1)
        ).value
        with plane.topology._store._write_engine.begin() as connection:
            tokens = schema.tokens
            connection.execute(
                update(tokens)
                .where(tokens.c.name == "old")
                .values(expires_at=expired.token.created_at)
            )
        strangers: tuple[dict[str, str], ...] = ({}, bearer("cw_" + "0" * 16 + "_" + "A" * 43), bearer("wrong"),
                     bearer(revoked.secret), bearer(expired.secret),
                     bearer(made[Scope.ADMIN].secret[:-1] + "."))  # fmt: skip
        for label, needed in [*wanted.items(), ("GET /metrics", Scope.VIEWER)]:
            method, path = label.split(" ")
            url = re.sub(r"\{[^}]*\}", "nobody", path)
            for headers in strangers:
                answer = await client.request(method, url, headers=headers)
                assert answer.status_code == 401, (label, headers)
            for scope, token in made.items():
                answer = await client.request(method, url, headers=bearer(token.secret))
                assert answer.status_code != 401, label
                assert (answer.status_code == 403) is not scope.includes(needed), (label, scope)
            bootstrap = await client.request(method, url, headers=bearer(BOOTSTRAP))
            assert bootstrap.status_code not in {401, 403}, label
        for path in auth.OPEN_PATHS:
            assert (await client.get(path)).status_code == 200


async def test_tokens_over_the_api(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=BOOTSTRAP) as (plane, client):
        admin = bearer(BOOTSTRAP)
        body = {"name": "ci", "scope": "operator", "expires_in_s": 3600}
        told = await client.post("/v1/tokens?dry_run=true", json=body, headers=admin)
        assert "secret" not in told.json()
        made = await client.post("/v1/tokens", json=body, headers=admin)
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        ci = bearer(made.json()["secret"])
        cell = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}
        written = await client.post("/v1/cells", json=cell, headers=ci | {"x-actor": "eve"})
        assert written.status_code == 201
        (change,) = plane.topology.changes.since(written.json()["revision"] - 1)
        assert change.actor == "ci (eve)@127.0.0.1", "the token's name, whoever they say they are"
        faked = {"x-actor": "eve) admin@10.0.0.9 ("}
        assert (await client.post("/v1/cells", json=cell, headers=ci | faked)).status_code == 422
        refused = await client.post("/v1/tokens", json=body | {"name": "x"}, headers=ci)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        listed = (await client.get("/v1/tokens", headers=admin)).json()["items"]
        assert [(one["name"], one["scope"]) for one in listed] == [("ci", "operator")]
        gone = await client.delete("/v1/tokens/ci", headers=admin)
        assert gone.json()["token"]["revoked_at"] is not None
        assert (await client.get("/v1/cells", headers=ci)).status_code == 401
        assert (await client.delete("/v1/tokens/ci", headers=admin)).status_code == 404
        again = await client.post("/v1/tokens", json=body, headers=admin)
        assert again.status_code == 201, "the name is free again"


async def test_idempotency_keys_are_each_callers_own_and_keep_no_secret(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=BOOTSTRAP) as (plane, client):
        admin = bearer(BOOTSTRAP)
        key = {"idempotency-key": "k"}
        body = {"name": "one", "scope": "operator"}
        first = await client.post("/v1/tokens", json=body, headers=admin | key)
        again = await client.post("/v1/tokens", json=body, headers=admin | key)
        assert (first.status_code, again.status_code) == (201, 409)
        one = bearer(first.json()["secret"])
        two = bearer(plane.topology.tokens.create("two", Scope.VIEWER, actor=ME).value.secret)
        cell = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}
        shared = {"idempotency-key": "shared"}
        denied = await client.post("/v1/cells", json=cell, headers=two | shared)
        made = await client.post("/v1/cells", json=cell, headers=one | shared)
        peeking = await client.post("/v1/cells", json=cell, headers=two | shared)
        repeated = await client.post("/v1/cells", json=cell, headers=one | shared)
        statuses = [one.status_code for one in (denied, made, peeking, repeated)]
        assert statuses == [403, 201, 403, 201]
        assert repeated.json() == made.json()


async def test_without_a_configured_token_a_tokens_scope_still_counts(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        secret = plane.topology.tokens.create("v", Scope.VIEWER, actor=ME).value.secret
        assert (await client.get("/v1/tokens")).status_code == 200
        assert (await client.get("/v1/tokens", headers=bearer(secret))).status_code == 403
        wrong = bearer(secret[:-4] + "AAAA")
        assert (await client.get("/v1/cells", headers=wrong)).status_code == 401


def database_of(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.glob("p.db*"))


async def test_secrets_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with plane_with(tmp_path, api_token=BOOTSTRAP) as (_, client):
            admin = bearer(BOOTSTRAP) | {"idempotency-key": "k1"}
            body = {"name": "ci", "scope": "admin"}
            secret = (await client.post("/v1/tokens", json=body, headers=admin)).json()["secret"]
            for path in ("/v1/cells", "/v1/nowhere", "/v1/cells/x"):
                await client.post(path, json={}, headers=bearer(secret))
            seen = [
                (await client.get(path, headers=bearer(secret))).text
                for path in ("/v1/changes", "/v1/audit", "/v1/tokens", "/metrics", "/v1/fleet")
            ]
    kept = database_of(tmp_path)
    for one in (secret[20:], BOOTSTRAP):
        assert one not in caplog.text
        assert not any(one in text for text in seen)
        assert b"ci" in kept
        assert one.encode() not in kept


def test_settings_show_no_secret() -> None:
    settings = Settings(api_token=BOOTSTRAP, database_url="postgresql://u:hunter2@h/d")
    for shown in (repr(settings), str(settings)):
        assert BOOTSTRAP not in shown
        assert "hunter2" not in shown
    assert BOOTSTRAP not in settings.model_dump_json()
    assert "hunter2" not in str(settings.mark_file)


def test_what_no_token_can_be(tmp_path: Path) -> None:
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    topology.cells.create(cell_spec(1), actor=ME)
    made = topology.tokens.create("a", Scope.VIEWER, actor=ME).value
    assert made.secret not in repr(made)
    assert topology.tokens.verify(made.secret) == made.token
    with pytest.raises(AlreadyExists):
        topology.tokens.create("a", Scope.ADMIN, actor=ME)
    for name, life in (
        ("A b", None),
        ("", None),
        ("api", None),
        ("b", timedelta(0)),
        ("b", timedelta(99_999)),
    ):
        with pytest.raises(Invalid):
            topology.tokens.create(name, Scope.ADMIN, actor=ME, life=life)
    with pytest.raises(NotFound):
        topology.tokens.revoke("nobody", actor=ME)
    before = topology.revision()
    topology.tokens.revoke(made.token.id, actor=ME)
    topology.tokens.revoke(made.token.id, actor=ME)
    assert topology.revision() == before + 1
    assert topology.tokens.verify(made.secret) is None
    topology.close()


async def test_a_lost_database_is_told_as_such(tmp_path: Path) -> None:
    """Whoever can't be known is not let in, and hears why."""
    async with plane_with(tmp_path, api_token=BOOTSTRAP) as (plane, client):
        secret = plane.topology.tokens.create("v", Scope.VIEWER, actor=ME).value.secret
        real = plane.topology.tokens.verify

        def lost(_: str) -> None:
            from control_plane.topology.values.errors import Unavailable

            raise Unavailable("gone")

        plane.topology.tokens.verify = lost  # type: ignore[method-assign,assignment]
        answer: httpx.Response = await client.get("/v1/cells", headers=bearer(secret))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        plane.topology.tokens.verify = real  # type: ignore[method-assign]
