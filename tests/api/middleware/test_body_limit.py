"""A body of at most the limit arrives as one message; a larger one is refused."""

from __future__ import annotations

import pytest

from control_plane.api.middleware.body_limit import MAX_BODY_BYTES, MAX_DISCARDED_BYTES, BodyLimit
from tests.api.middleware.connection import InnerApp, sent_to


async def test_a_body_in_pieces_arrives_as_one_message() -> None:
    inner = InnerApp()
    connection = await sent_to(BodyLimit(inner), b"a", b"", b"bc")
    assert (connection.status, inner.bodies) == (200, [b"abc"])


async def test_the_limit_itself_is_allowed() -> None:
    inner = InnerApp()
    half = b"x" * (MAX_BODY_BYTES // 2)
    assert (await sent_to(BodyLimit(inner), half, half)).status == 200
    refused = await sent_to(BodyLimit(inner), half, half, b"x")
    assert (refused.status, refused.headers[b"connection"]) == (413, b"close")
    assert len(inner.bodies) == 1


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1).encode(), b"-1", b"1e3", b""])
async def test_a_length_that_is_too_large_or_none_is_refused_unread(length: bytes) -> None:
    inner = InnerApp()
    refused = await sent_to(BodyLimit(inner), b"x", headers=[(b"Content-Length", length)])
    assert (refused.status, inner.bodies) == (413, [])


async def test_a_client_that_never_ends_is_read_within_bounds() -> None:
    pieces = [b"x" * (1 << 20)] * (2 * MAX_DISCARDED_BYTES >> 20)
    refused = await sent_to(BodyLimit(InnerApp()), *pieces, ends=False)
    assert refused.status == 413
    assert (await refused.receive())["body"], "the rest was left unread"


async def test_half_a_body_is_not_taken_for_a_complete_one() -> None:
    inner = InnerApp()
    left = await sent_to(BodyLimit(inner), b'{"name": ', ends=False)
    assert (left.status, inner.bodies) == (None, [])


async def test_a_read_is_handed_on_unread() -> None:
    inner = InnerApp()
    body = b"x" * (MAX_BODY_BYTES + 1)
    assert (await sent_to(BodyLimit(inner), body, method="GET")).status == 200
