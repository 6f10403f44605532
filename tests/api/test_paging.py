"""Cursors give back the place that they were made of, and nothing else is taken for one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.api import paging
from control_plane.api.problem import ProblemError

TEXT = st.text(max_size=40)


@given(st.lists(TEXT, min_size=1, max_size=3))
def test_a_cursor_gives_back_its_place_and_fits_into_a_url(key: list[str]) -> None:
    cursor = paging.encode(key)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert paging.decode(cursor, len(key)) == key


def test_without_a_cursor_there_is_no_place() -> None:
    assert paging.decode(None, 2) is None
    assert paging.decode_moment(None) is None
    assert paging.decode_pair(None) is None


@pytest.mark.parametrize("text", ["", "x", "ü", "[]", '["a"]', '["a", 1]', '{"a": 1}', "[" * 3000])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    for cursor in (text, base64.urlsafe_b64encode(text.encode()).decode()):
        with pytest.raises(ProblemError, match="none of ours") as refused:
            paging.decode(cursor, 2)
        assert refused.value.status == 422


@given(st.datetimes(timezones=st.just(UTC)), TEXT)
def test_a_moment_comes_back_to_the_microsecond(at: datetime, name: str) -> None:
    assert paging.decode_moment(paging.encode_moment(at, name)) == (at, name)


@pytest.mark.parametrize("time", ["", "yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_is_none_or_has_no_zone_is_refused(time: str) -> None:
    with pytest.raises(ProblemError, match="none of ours"):
        paging.decode_moment(paging.encode([time, "x"]))


@pytest.mark.parametrize("number", ["", "-1", "1.0", "²", "1" * 19])
def test_a_pair_consists_of_numbers_that_fit_the_database(number: str) -> None:
    assert paging.decode_pair(paging.encode(["7", "0"])) == (7, 0)
    with pytest.raises(ProblemError, match="none of ours"):
        paging.decode_pair(paging.encode(["7", number]))
