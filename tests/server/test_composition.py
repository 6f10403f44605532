"""The composition root: what happens when its parts fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.system import serve_here
from control_plane.jobs.notifications import CommitNotifications
from control_plane.publisher.publisher import Publisher
from control_plane.settings import Settings
from control_plane.xds.server.server import XdsServer
from tests.support.plane import plane_with


async def test_parts_that_fail_one_after_the_other_do_not_break_off_the_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def fails_first(_: object) -> None:
        await first.wait()
        raise RuntimeError("the first part")

    async def fails_second(_: object) -> None:
        await second.wait()
        raise RuntimeError("the second part")

    stop = XdsServer.stop

    def stopping(self: XdsServer) -> None:
        second.set()
        stop(self)

    # What follows is the stopping of gRPC's server; conftest.py checks that it comes to its end.
    monkeypatch.setattr(XdsServer, "stop", stopping)
    monkeypatch.setattr(Publisher, "run", fails_first)
    monkeypatch.setattr(CommitNotifications, "run", fails_second)
    with pytest.raises(asyncio.CancelledError):
        async with plane_with(tmp_path, roles=("xds", "topology")):
            first.set()
            await asyncio.Event().wait()
    failed = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert failed == ["the first part", "the second part"]
    assert "a part has failed: publisher" in caplog.text


def test_a_pattern_of_names_that_can_t_be_used_is_a_wrong_configuration(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "unused", grpc_admin_name="(")
    with pytest.raises(Failure, match=r"the configuration is wrong\n.*no RE2 regex") as failed:
        serve_here(settings)
    assert failed.value.status is Exit.USAGE
    assert not settings.data_dir.exists(), "it is said before anything has started"


async def test_a_redis_that_is_not_used_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with plane_with(tmp_path, roles=("api",), redis_url="redis://127.0.0.1:1"):
        pass
    assert "redis_url is not used" in caplog.text
