"""A coroutine that runs as a command: what keeps it from running is one line."""

from __future__ import annotations

import errno
import os

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.process import run


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), "Address already in use"),
        (OSError("port 8000 is taken"), "port 8000 is taken"),
    ],
)
def test_an_error_of_the_system_is_told_in_its_own_words(error: OSError, says: str) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(Failure) as raised:
        run(fails())
    assert (str(raised.value), raised.value.status) == (says, Exit.ERROR)


def test_what_ends_by_itself_is_no_failure() -> None:
    ended: list[bool] = []

    async def ends() -> None:
        ended.append(True)

    run(ends())
    assert ended == [True]
