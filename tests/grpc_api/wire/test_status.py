"""Each error has its gRPC status, and a text that fits a trailer."""

from __future__ import annotations

import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.grpc_api.wire.status import MAX_TEXT_BYTES, CallError, Code, bounded, failure
from control_plane.topology.values import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("cell", "x"), Code.NOT_FOUND),
        (errors.Locked((("route:a", "lease"),)), Code.FAILED_PRECONDITION),
        (errors.Contention("busy"), Code.ABORTED),
        (errors.Unavailable("down"), Code.UNAVAILABLE),
        (errors.ReadOnly("a standby"), Code.UNAVAILABLE),
        (errors.DatabaseFull("no space"), Code.RESOURCE_EXHAUSTED),
        (errors.DatabaseDenied("no right"), Code.UNAVAILABLE),
        (errors.DatabaseFailed("a syntax"), Code.INTERNAL),
        (errors.TopologyError("odd"), Code.INTERNAL),
        (CallError(Code.RESOURCE_EXHAUSTED, "too many"), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_an_error_has_its_status_and_its_text(
    error: CallError | errors.TopologyError, code: Code
) -> None:
    assert failure(error) == (code, str(error))


def test_only_a_failure_of_the_database_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failure(errors.NotFound("cell", "x"))
        assert not caplog.text
        assert failure(errors.DatabaseFailed("the disk is full"))[0] is Code.INTERNAL
    assert "a call failed" in caplog.text


def test_a_long_text_is_cut_to_what_fits_a_trailer() -> None:
    assert bounded("a%b") == "a%b"
    cut = bounded("ü" * 10_000)
    assert cut.endswith("ü…")
    # Each ü is six bytes when percent-encoded.
    assert MAX_TEXT_BYTES - 40 < len(cut) * 6 <= MAX_TEXT_BYTES


@given(st.text(min_size=1, max_size=20).map(lambda text: text * 300))
def test_no_text_is_longer_than_the_bound_as_it_is_sent(text: str) -> None:
    sent = quote(bounded(text), safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
    assert len(sent) <= MAX_TEXT_BYTES
