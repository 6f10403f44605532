"""Settings from options: what is not given is left to others, and all that is wrong is said."""

from __future__ import annotations

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.settings import settings_of


def test_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWAY_API_PORT", "7")
    settings = settings_of(api_port=None, grpc_port=0)
    assert (settings.api_port, settings.grpc_port) == (7, 0)


def test_everything_that_is_wrong_is_said_in_a_line_each() -> None:
    with pytest.raises(Failure) as raised:
        settings_of(api_port=70_000, drain_s=-1)
    assert raised.value.status is Exit.USAGE
    heading, *lines = str(raised.value).splitlines()
    assert heading == "the configuration is wrong"
    assert [line.partition(":")[0].strip() for line in lines] == ["--api-port", "--drain-s"]
