"""Odd requests of HTTP/2 and heads at the limit reach their cell, however it is decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.model import Decision
from tests.e2e.echo_upstream import Arrived, EchoUpstream
from tests.support.raw_http import RawResponse, exchange, request_bytes
from tests.support.raw_http2 import RawHttp2Connection
from tests.support.system import System

HOST = b"gitlab.example.com"
WAYS: dict[str, dict[str, Any]] = {
    "cache": {},
    "http": {"edge_cache_entries": 0},
    "grpc": {"classifier_protocol": "grpc"},
}


@pytest.fixture(scope="module", params=WAYS)
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("odd")
    with EchoUpstream() as upstream, System(directory, cells=0, **WAYS[request.param]) as running:
        running.add_cell("cell-1", upstream.port)
        running.claim("cell-1", "route:foo")
        running.use_ruleset("gitlab")
        yield running


@pytest.mark.parametrize("path", [b"/foo/x", b"/-/x"])
@pytest.mark.parametrize("query", [b"", b"?\xff", b"?a=\xc3\xbc&b", b"?" + b"\xfe" * 5_000])
@pytest.mark.parametrize("method", ["GET", "get", "FOO", "PRI", "X" * 40])
def test_odd_methods_and_queries_of_http2_arrive(
    system: System, method: str, path: bytes, query: bytes
) -> None:
    block = [(b":method", method.encode()), (b":scheme", b"http"), (b":path", path + query)]
    with RawHttp2Connection(("127.0.0.1", system.edge_port)) as connection:
        answer = connection.exchange([*block, (b":authority", HOST)])
    assert isinstance(answer, RawResponse)
    assert answer.status == 200
    arrived = Arrived.parse(answer.body)
    assert (arrived.method, arrived.path) == (method, path + query)
    admitted = admit(method, path + query, HOST, [], version=HttpVersion.HTTP_2)
    assert not isinstance(admitted, Refused)
    assert ("x-cellway-rule", str(system.decide(admitted).rule).encode()) in arrived.headers


@pytest.mark.parametrize(
    "headers",
    [[("x-a", b"1")] * count for count in (90, 95, 98, 99)]
    + [[("x-a", b"1" * size)] for size in (60_000, 61_000, 61_300)],
)
def test_heads_at_the_limit_arrive_or_are_too_large(
    system: System, headers: list[tuple[str, bytes]]
) -> None:
    """Envoy's ext_authz may have no room for its own headers; then the head is too large."""
    assert not isinstance(admit("GET", b"/foo/x", HOST, headers), Refused)
    request = request_bytes(b"/foo/x", headers, host=HOST)
    answer = exchange(("127.0.0.1", system.edge_port), request)
    assert answer is not None
    if answer.status != 200:
        assert answer.status == 431
        limits = r"http\.edge\.ext_authz\.classifier\.request_header_limits_reached"
        assert any(system.stats(limits).values())


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_header_name_given_by_regex_matches_headers_of_the_client_only(
    tmp_path: Path, way: str
) -> None:
    """The edge's own headers, and those of its question, do not count as the client's."""
    any_header = {"type": "header", "name": "^.*$", "regexValue": "^(?<value>.+)$"}
    claims = {"claims": [{"tenant": "${value}"}]}
    asked = {"id": "asked", "match": any_header, "action": "classify", "classify": claims}
    other = {"id": "other", "action": "proxy", "proxy": {"cell": "cell-1"}}
    rules = [asked | {"on_unknown": 404}, other]
    with (
        EchoUpstream() as upstream,
        System(tmp_path, cells=0, **WAYS[way]) as system,
    ):
        system.add_cell("cell-1", upstream.port)
        system.claim("cell-1", "tenant:a")
        system.use_ruleset({"name": "headers", "rules": rules})
        for headers, rule in (
            ([], b"other"),
            ([("content-length", b"0"), ("x-request-id", b"a")], b"other"),
            ([("accept", b"a"), ("x-forwarded-for", b"b")], b"asked"),
        ):
            request = request_bytes(b"/x", headers, host=HOST)
            answer = exchange(("127.0.0.1", system.edge_port), request)
            assert answer is not None
            assert answer.status == 200
            assert ("x-cellway-rule", rule) in Arrived.parse(answer.body).headers
            decision = system.expected("GET", b"/x", HOST, headers)
            assert isinstance(decision, Decision)
            assert str(decision.rule).encode() == rule


@pytest.mark.parametrize("way", WAYS)
def test_regexes_match_bytes(tmp_path: Path, way: str) -> None:
    """This holds for native rules, and where the classifier is asked."""
    sent = (b"\xe9", b"\xc3\xa9", b"a\x80", b"aa")
    rules: list[dict[str, Any]] = [
        {
            "id": f"{tier}-{number}",
            "match": [
                {"type": "path", "regexValue": f"^/{tier}/{number}$"},
                {"type": "header", "name": "^x-a$", "regexValue": regex},
            ],
            "action": "proxy" if tier == "native" else "classify",
        }
        | ({} if tier == "native" else {"classify": {"claims": [{"tenant": "a"}]}})
        for tier in ("native", "asked")
        for number, regex in enumerate(("^.$", "^[^a]+$", "^a.$", "é", r"^\pL", "^[à-ü]$"))
    ]
    query = {"type": "query_string", "regexValue": r"^\xff$"}
    claims = {"claims": [{"tenant": "a"}]}
    rules.append({"id": "query", "match": query, "action": "classify", "classify": claims})
    with (
        EchoUpstream() as upstream,
        System(tmp_path, cells=0, **WAYS[way]) as system,
    ):
        system.add_cell("cell-1", upstream.port)
        system.claim("cell-1", "tenant:a")
        system.use_ruleset({"name": "bytes", "rules": rules})
        block = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/?\xff")]
        with RawHttp2Connection(("127.0.0.1", system.edge_port)) as connection:
            response = connection.exchange([*block, (b":authority", HOST)])
        assert isinstance(response, RawResponse)
        assert response.status == 200
        for tier, number, value in itertools.product(("native", "asked"), range(6), sent):
            path, headers = f"/{tier}/{number}".encode(), [("x-a", value)]
            request = request_bytes(path, headers, host=HOST)
            answer = exchange(("127.0.0.1", system.edge_port), request)
            decision = system.expected("GET", path, HOST, headers)
            assert answer is not None
            assert isinstance(decision, Decision)
            assert (answer.status == 200) is (decision.rule is not None), (path, value)
