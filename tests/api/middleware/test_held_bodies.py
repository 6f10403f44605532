"""The bytes of all bodies under way have a bound, and each caller has one."""

from __future__ import annotations

import contextlib

import pytest

from control_plane.api.middleware.held_bodies import (
    MAX_HELD_BYTES,
    MAX_HELD_BYTES_OF_CALLER,
    HeldBodies,
    TooManyBytes,
)


def test_what_one_caller_holds_keeps_no_other_out_until_all_is_held() -> None:
    held = HeldBodies()
    with contextlib.ExitStack() as stack:
        for caller in range(MAX_HELD_BYTES // MAX_HELD_BYTES_OF_CALLER):
            body = stack.enter_context(held.of(str(caller)))
            body.at_least(MAX_HELD_BYTES_OF_CALLER)
            with held.of(str(caller)) as further, pytest.raises(TooManyBytes, match="of yours"):
                further.at_least(1)
        with held.of("new") as another, pytest.raises(TooManyBytes, match="bytes of bodies"):
            another.at_least(1)
    with held.of("new") as another:
        another.at_least(MAX_HELD_BYTES_OF_CALLER)


def test_what_was_announced_is_not_counted_again_as_it_comes() -> None:
    held = HeldBodies()
    with held.of("a") as body:
        for size in (100, 10, 100, 101):
            body.at_least(size)
        assert body.size == 101
