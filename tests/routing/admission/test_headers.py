"""Header fields as they are after the edge."""

from __future__ import annotations

import pytest

from control_plane.routing.admission.headers import (
    MAX_CONNECTION_TOKENS,
    MAX_HEADER_ENTRIES,
    REMOVED_BY_EDGE,
    WRITTEN_BY_EDGE,
    Header,
    forwarded_fields,
    join_repeated,
    read_http1_fields,
    read_http2_fields,
)
from control_plane.routing.admission.refusal import EdgeRefusal


def read(*fields: Header, method: str = "GET") -> list[Header]:
    return read_http1_fields(method, fields)


def refusal(*fields: Header, method: str = "GET") -> int:
    with pytest.raises(EdgeRefusal) as caught:
        read_http1_fields(method, fields)
    return caught.value.status


def test_values_lose_blanks_and_folds() -> None:
    assert read(("A", b" \tx\r\n y\t ")) == [("a", b"x y")]


def test_repeated_fields_are_joined_only_where_envoy_does_at_the_first_ones_place() -> None:
    fields = [("accept", b"1"), ("a", b"2"), ("accept", b""), ("a", b"3"), ("accept", b"4")]
    assert join_repeated(fields) == [("accept", b"1,4"), ("a", b"2"), ("a", b"3")]


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        (b"x-a", ["connection", "b"]),
        (b"close, X-A , keep-alive", ["connection", "b"]),
        (b"close", ["connection", "x-a", "b"]),
    ],
)
def test_nominated_fields_are_removed(connection: bytes, left: list[str]) -> None:
    fields = read(("Connection", connection), ("X-A", b"1"), ("b", b"2"))
    assert [name for name, _ in fields] == left


@pytest.mark.parametrize(
    ("connection", "te", "value"),
    [
        (b"te", b"trailers, gzip", b"trailers"),
        (b"te", b"gzip", None),
        (b"close", b"gzip", b"gzip"),
    ],
)
def test_of_a_nominated_te_only_trailers_stay(
    connection: bytes, te: bytes, value: bytes | None
) -> None:
    assert dict(read(("connection", connection), ("te", te))).get("te") == value


def test_an_upgrade_to_h2c_is_taken_out_and_another_left_whole() -> None:
    h2c = read(
        ("connection", b"upgrade, http2-settings"), ("upgrade", b"h2c"), ("http2-settings", b"x")
    )
    assert [name for name, _ in h2c] == ["connection"]
    websocket = [("connection", b"upgrade, x-a"), ("upgrade", b"websocket"), ("x-a", b"1")]
    assert read(*websocket) == websocket


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("connection", b"x-forwarded-proto")], 400),
        ([("connection", b":path")], 400),
        ([("connection", b",".join([b"a"] * (MAX_CONNECTION_TOKENS + 1)))], 400),
        ([("connection", b"te"), ("te", b"a" * 256)], 400),
        ([("a", b"")] * (MAX_HEADER_ENTRIES + 1), 431),
        ([("content-length", b"1"), ("content-length", b"1")], 400),
        ([("content-length", b"+1")], 400),
        ([("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked")], 501),
        ([("a b", b"1")], 400),
        ([("a", b"\x01")], 400),
    ],
)
def test_what_the_codec_refuses(fields: list[Header], status: int) -> None:
    assert refusal(*fields) == status


def test_a_connect_has_no_body() -> None:
    assert read(("content-length", b"0"), ("transfer-encoding", b"chunked"), method="CONNECT")
    assert refusal(("content-length", b"1"), method="CONNECT") == 400


def test_cookies_of_http2_are_one_at_the_end() -> None:
    fields = [("cookie", b"a=1"), ("b", b"2"), ("cookie", b"c=3")]
    assert read_http2_fields(fields) == [("b", b"2"), ("cookie", b"a=1; c=3")]


@pytest.mark.parametrize("name", ["A", "connection", "upgrade", "a_b", "a b", ""])
def test_names_that_http2_does_not_allow(name: str) -> None:
    with pytest.raises(EdgeRefusal):
        read_http2_fields([(name, b"1")])


@pytest.mark.parametrize("name", sorted(WRITTEN_BY_EDGE | REMOVED_BY_EDGE | {"x-cellway-cell"}))
def test_the_edges_own_fields_are_not_forwarded(name: str) -> None:
    assert forwarded_fields([(name, b"1"), ("a", b"2")]) == (("a", b"2"),)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ([("expect", b"100-Continue")], []),
        ([("expect", b"x")], ["expect"]),
        ([("te", b"gzip")], []),
        ([("connection", b"close"), ("upgrade", b"websocket")], []),
    ],
)
def test_what_is_for_the_edge_stops_there(fields: list[Header], left: list[str]) -> None:
    assert [name for name, _ in forwarded_fields(fields)] == left
