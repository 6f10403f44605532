"""Operators with JWTs at the real API: what they may do, and what others are told."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.oidc import key_source
from control_plane.settings import Settings, TokenNeeded, check_exposure
from tests.api.oidc.issuer import AUDIENCE, ISSUER, OTHER_RSA_KEY, jwk, jwks, key_server, token
from tests.cli.cellway_command import Cellway
from tests.support.plane import plane_with

CELL = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}


def settings(jwks_at: str, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": ISSUER,
        "oidc_audiences": (AUDIENCE,),
        "oidc_jwks": jwks_at,
        "oidc_scopes": {"viewer": ("eng",), "operator": ("sre",), "admin": ("admins",)},
        **more,
    }


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def test_operators_with_jwts_beside_tokens(tmp_path: Path) -> None:
    async with (
        key_server() as issuer,
        plane_with(tmp_path, api_token="s3cret-of-configuration", **settings(issuer.url)) as (
            plane,
            client,
        ),
    ):

        async def status(path: str, *, method: str = "GET", **more: Any) -> int:
            sent = bearer(token(**more))
            return (await client.request(method, path, headers=sent)).status_code

        assert await status("/v1/cells", groups=["eng"]) == 200
        assert await status("/v1/tokens", groups=["sre"]) == 403
        assert await status("/v1/tokens", groups=["eng", "admins"]) == 200
        assert await status("/metrics", groups=["eng"]) == 200
        writes = bearer(token()) | {"x-actor": "eve"}
        written = await client.post("/v1/cells", json=CELL, headers=writes)
        assert written.status_code == 201
        (change,) = plane.topology.changes.since(written.json()["revision"] - 1)
        assert change.actor == "oidc:alice@example.com (eve)@127.0.0.1"
        configured = await client.get("/v1/tokens", headers=bearer("s3cret-of-configuration"))
        assert configured.status_code == 200
        made = await client.post(
            "/v1/tokens",
            json={"name": "ci", "scope": "viewer"},
            headers=bearer(token(groups=["admins"])),
        )
        ours = bearer(made.json()["secret"])
        assert (await client.get("/v1/cells", headers=ours)).status_code == 200
        assert (
            plane.registry.get_sample_value("cellway_oidc_tokens_total", {"outcome": "accepted"})
            == 6
        )
        base = str(client.base_url).rstrip("/")
        cellway = Cellway(base, CELLWAY_TOKEN=token(groups=["eng"]))
        shown = await asyncio.to_thread(cellway, "cells", "list", "-o", "json")
        assert (shown.returncode, "c.example" in shown.stdout) == (0, True), shown.stderr


async def test_what_those_hear_who_get_no_access(tmp_path: Path) -> None:
    async with (
        key_server() as issuer,
        plane_with(tmp_path, **settings(issuer.url)) as (_, client),
    ):

        async def asked(text: str | None) -> httpx.Response:
            return await client.get("/v1/cells", headers={} if text is None else bearer(text))

        for text in (None, "s3cret", "a.b.c.d"):
            plain = await asked(text)
            assert (plain.status_code, plain.headers["www-authenticate"]) == (401, "Bearer")
        for text, says in (
            (token(key=OTHER_RSA_KEY), "the token is not valid"),
            ("a.b.c", "the token is not valid"),
            (token(exp=int(time.time()) - 60), "the token has expired"),
            (token(aud="x"), "the token is for another audience"),
            (token(email="x" * 20_000), "the token is longer than 16384 bytes"),
        ):
            answer = await asked(text)
            expected = f'Bearer error="invalid_token", error_description="{says}"'
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, expected)
            assert answer.json()["detail"] == says
        unmapped = await asked(token(groups=["nobody"]))
        body = unmapped.json()
        assert (unmapped.status_code, body["code"], body["claim"]) == (403, "no-scope", "groups")
        assert (await client.get("/healthz", headers=bearer("a.b.c"))).status_code == 200


async def test_keys_are_rotated_and_taken_over_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_source, "MIN_INTERVAL_S", 0)
    async with (
        key_server(b"no keys yet") as issuer,
        plane_with(tmp_path, **settings(issuer.url)) as (_, client),
    ):
        early = await client.get("/v1/cells", headers=bearer(token()))
        assert (early.status_code, early.headers["retry-after"]) == (503, "10")
        issuer.document = jwks(jwk(OTHER_RSA_KEY, kid="new"))
        new = bearer(token(key=OTHER_RSA_KEY, kid="new"))
        assert (await client.get("/v1/cells", headers=new)).status_code == 200
        old = await client.get("/v1/cells", headers=bearer(token()))
        assert old.status_code == 401
        shown = (await client.get("/metrics", headers=new)).text
        (failed,) = re.findall(r'key_fetches_total\{outcome="failed"\} (\S+)', shown)
        assert float(failed) >= 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"oidc_audiences": ()}, "oidc_audiences is missing"),
        ({"oidc_audiences": ("",)}, "oidc_audiences is missing"),
        ({"oidc_jwks": None}, "oidc_jwks is missing"),
        ({"oidc_scopes": {}}, "oidc_scopes is missing"),
        ({"oidc_scopes": {"root": ("x",)}}, "oidc_scopes"),
        ({"oidc_issuer": None}, "oidc_issuer is missing"),
        ({"oidc_algorithms": ("HS256",)}, "oidc_algorithms"),
        ({"oidc_algorithms": ("none",)}, "oidc_algorithms"),
        ({"oidc_algorithms": ()}, "oidc_algorithms"),
        ({"oidc_jwks": "http://issuer.example/jwks"}, "https"),
        ({"oidc_jwks": "ftp://issuer.example/jwks"}, "https"),
        ({"oidc_jwks": "https:///jwks"}, "https"),
    ],
)
def test_settings_that_would_open_a_door_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Settings(**(settings("https://issuer.example/jwks") | changed))


def test_an_issuer_lets_the_api_listen_beyond_loopback() -> None:
    check_exposure(Settings(host="10.0.0.1", **settings("/jwks.json")))
    with pytest.raises(TokenNeeded, match="CELLWAY_OIDC_ISSUER"):
        check_exposure(Settings(host="10.0.0.1"))
