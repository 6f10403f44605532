"""Waiting for conditions: they are asked again until they hold, and no longer than their bound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.conditions import holds_within, until, wait_until


@pytest.fixture
def third_time() -> Iterator[bool]:
    """Whether a condition holds, question by question."""
    return iter([False, False, True])


def test_a_wait_asks_until_the_condition_holds_and_returns_its_value() -> None:
    values = iter(["", "", "there"])
    assert wait_until(lambda: next(values)) == "there"


def test_a_wait_for_what_never_happens_fails() -> None:
    with pytest.raises(AssertionError, match=r"within 0\.1 seconds"):
        wait_until(lambda: False, 0.1)


def test_whether_a_condition_came_to_hold_in_time_is_reported(third_time: Iterator[bool]) -> None:
    assert holds_within(lambda: next(third_time), 30)
    assert not holds_within(lambda: False, 0.1)


async def test_a_condition_may_be_a_coroutine_function(third_time: Iterator[bool]) -> None:
    async def condition() -> bool:
        return next(third_time)

    await until(condition)


async def test_an_asynchronous_wait_for_what_never_happens_times_out() -> None:
    with pytest.raises(TimeoutError):
        await until(lambda: False, 0.1)
