"""A decision's line: what it says, and that no secret and no control character is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from addons.decision_line import shown_reason, shown_target
from addons.remote import Edge, RemoteCell
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Request
from control_plane.routing.rules.parse import parse

SECRET = "glpat-A1b2C3d4E5f6G7h8"
CELL = RemoteCell(1, "cell-1", "c.example", "cell-1", True, True, 1, ("127.0.0.1:81",), None)


def edge_with(match: dict[str, Any], classify: dict[str, Any], **more: Any) -> Edge:
    rule = {"id": "r", "match": match, "action": "classify", "classify": classify} | more
    ruleset = parse(json.dumps({"name": "one", "rules": [rule]}))
    return Edge(Cells([CELL]), {"cell-1": CELL}, ruleset, "one version 1", 0.0)


def reason(edge: Edge, request: Request, owner: int | None = 1) -> str:
    decision = decide(edge.ruleset, request, edge.cells, lambda keys: [owner] * len(keys))
    return shown_reason(decision, edge)


TOKEN_CLAIM = {"claims": [{"token": "${token}"}]}
PLACES: dict[str, tuple[dict[str, Any], Request]] = {
    "header": (
        {"type": "header", "name": "^private-token$", "regexValue": "^(?<token>.+)$"},
        Request.of("/", {"private-token": SECRET}),
    ),
    "cookie": (
        {"type": "cookie", "name": "^t$", "regexValue": "^(?<token>.+)$"},
        Request.of("/", {"cookie": f"t={SECRET}"}),
    ),
    "query": (
        {"type": "query_string", "regexValue": "private_token=(?<token>[^&]+)"},
        Request.of(f"/?private_token={SECRET}"),
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("owner", [1, None])
def test_a_key_from_where_tokens_stand_is_hidden(place: str, owner: int | None) -> None:
    match, request = PLACES[place]
    shown = reason(edge_with(match, TOKEN_CLAIM, on_unknown=404), request, owner)
    assert SECRET not in shown
    assert f"token:…({len(SECRET)} characters)" in shown


def test_a_key_from_the_path_is_shown() -> None:
    edge = edge_with({"type": "path", "regexValue": "^/(?<token>[^/]+)"}, TOKEN_CLAIM)
    assert reason(edge, Request.of("/acme")) == "token:acme is claimed by cell-1"


def test_a_long_key_is_shortened() -> None:
    edge = edge_with({"type": "path", "regexValue": "^/(?<token>[^/]+)"}, TOKEN_CLAIM)
    shown = reason(edge, Request.of("/" + "a" * 900))
    assert len(shown) < 100
    assert shown.endswith("… is claimed by cell-1")


@pytest.mark.parametrize("on_unknown", [404, {"cell": "cell-1"}])
def test_of_session_cookies_only_the_name_of_a_cell_is_shown(on_unknown: Any) -> None:
    match = {"type": "cookie", "name": "^s$", "regexValue": "^(?<cell>.+)$"}
    classify = {"type": "SESSION_PREFIX", "value": "${cell}"}
    edge = edge_with(match, classify, on_unknown=on_unknown)
    known = reason(edge, Request.of("/", {"cookie": "s=cell-1"}))
    assert known == "session_prefix:cell-1 names the cell"
    assert SECRET not in reason(edge, Request.of("/", {"cookie": f"s={SECRET}"}))


def test_a_query_is_left_out() -> None:
    shown = shown_target("GET", b"a.example", f"/x?private_token={SECRET}".encode())
    assert shown == "GET a.example/x?…"


def test_a_line_holds_no_control_character() -> None:
    shown = shown_target("GET", b"a\x1b[31m", b"/\xff\r\n[12:00] cellway: forged")
    assert shown.isprintable()
