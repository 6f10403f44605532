"""Tokens with what an instance puts in front of them lead to their cell, wherever they stand."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.tokens import encode_routable_token, to_base36
from tests.support import gitlab_pages
from tests.support.cells import cells

RULESET = parse((gitlab_pages.ROOT / "rulesets" / "gitlab.json").read_text())
PREFIXES = (
    "",
    "glpat-",
    "acme-glpat-",
    "acme.",
    "acme:",
    "acme/",
    "acme=",
    "acme@",
    "acme+",
    "a:b:",
)
Place = Callable[[str], Request]


def _header(name: str, scheme: str = "") -> Place:
    return lambda token: Request.of("/api/v4/user", headers=[(name, scheme + token)])


def _basic(before: str, after: str = "") -> Place:
    def place(token: str) -> Request:
        credentials = base64.b64encode(f"{before}{token}{after}".encode()).decode()
        return Request.of("/api/v4/user", headers=[("authorization", f"Basic {credentials}")])

    return place


def _query(name: str) -> Place:
    return lambda token: Request.of(
        f"/api/v4/user?a=b&{name}={urllib.parse.quote(token, safe='')}&c=d"
    )


TOKEN_PLACES = (
    _header("private-token"), _header("job-token"), _header("runner-token"),
    _header("authorization", "Bearer "), _basic("oauth2:"), _basic(":"),
    _query("private_token"), _query("access_token"),
)  # fmt: skip
JWT_PLACES = (
    _header("job-token"), _header("authorization", "bearer  "), _basic("gitlab-ci-token:"),
    _query("job_token"),
)  # fmt: skip


def cell_of(request: Request) -> str | None:
    return decide(RULESET, request, cells(), lambda keys: [None] * len(keys)).cell


def jwt(cell: int, prefix: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"c": to_base36(cell)}).encode()).decode()
    return f"{prefix}glcbt-eyJhbGciOiJub25lIn0.{payload.rstrip('=')}.c2ln"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("place", TOKEN_PLACES)
def test_a_routable_token_is_read(place: Place, prefix: str) -> None:
    token = encode_routable_token(prefix, {"c": 2, "u": 7}, bytes(range(16)))
    assert cell_of(place(token)) == "cell-2"
    assert cell_of(place(token[:-1] + "!")) is None


@pytest.mark.parametrize("prefix", ["", "acme-", "acme.", "acme:", "acme/", "acme@-"])
@pytest.mark.parametrize("place", JWT_PLACES)
def test_a_job_token_is_read(place: Place, prefix: str) -> None:
    assert cell_of(place(jwt(3, prefix))) == "cell-3"


@pytest.mark.parametrize("after", [":", ":x-oauth-basic", ":" + "x" * 50])
def test_a_token_may_stand_in_place_of_the_user(after: str) -> None:
    token = encode_routable_token("acme-glpat-", {"c": 2}, bytes(16))
    assert cell_of(_basic("", after)(token)) == "cell-2"
    assert cell_of(_basic("", after)(jwt(2, "acme-"))) == "cell-2"


def test_of_two_tokens_the_password_counts() -> None:
    one = encode_routable_token("glpat-", {"c": 1}, bytes(16))
    two = encode_routable_token("acme:", {"c": 2}, bytes(16))
    assert cell_of(_basic(f"{one}:")(two)) == "cell-2"


@given(st.from_regex(r"[a-zA-Z0-9_+=/@:.-]{0,20}", fullmatch=True), st.sampled_from(TOKEN_PLACES))
def test_any_prefix_that_gitlab_allows_is_read(prefix: str, place: Place) -> None:
    token = encode_routable_token(prefix, {"c": 3, "o": 9}, b"\xff" * 16)
    assert cell_of(place(token)) == "cell-3"
