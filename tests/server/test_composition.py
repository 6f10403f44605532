"""The composition root: what happens when its parts fail."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from control_plane.classifier.http import ClassifierServer
from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.system import serve_here
from control_plane.jobs.notifications import CommitNotifications
from control_plane.publisher.publisher import Publisher
from control_plane.server import VitalTaskEnded, api_role
from control_plane.settings import Settings
from control_plane.xds.server.server import XdsServer
from tests.support.conditions import until
from tests.support.plane import plane_with, samples


async def test_a_part_that_keeps_failing_ends_nothing_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(Publisher, "run", fails)
    async with plane_with(tmp_path) as (plane, client):
        await until(plane.alarm)
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        alarm = "background task 'publisher' keeps failing: RuntimeError: nobody foresaw this"
        assert ready.json()["alarm"] == alarm
        values = await samples(client)
        assert values["cellway_background_restarts_total", (("task", "publisher"),)] >= 2
        assert values["cellway_background_restarts_total", (("task", "cell health"),)] == 0
        assert values["cellway_publication_refused", ()] == 0, "no guard holds anything back"


async def test_parts_that_fail_one_after_the_other_do_not_break_off_the_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def fails_first(_: object, sock: socket.socket) -> None:
        with sock:
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
    monkeypatch.setattr(ClassifierServer, "run", fails_first)
    monkeypatch.setattr(CommitNotifications, "run", fails_second)
    with pytest.raises(VitalTaskEnded, match=r"^the classifier server can't go on: "):
        async with plane_with(tmp_path, roles=("xds", "topology", "classifier")):
            first.set()
            await asyncio.Event().wait()
    failed = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert failed == ["the first part", "the second part"]


def test_a_server_that_can_t_go_on_ends_the_command_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(_: object, sock: socket.socket) -> None:
        sock.close()

    monkeypatch.setattr(api_role, "run", ends)
    settings = Settings(
        data_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path}/p.db",
        roles=("api",),
        api_port=0,
    )
    with pytest.raises(Failure) as failed:
        serve_here(settings)
    assert str(failed.value) == "the API server can't go on: it has ended by itself"


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


def test_a_classifiers_certificate_that_is_none_is_told_before_anything_starts(
    tmp_path: Path,
) -> None:
    files = {f"classifier_tls_{what}": tmp_path / what for what in ("certificate", "key", "ca")}
    for file in files.values():
        file.write_text("nonsense")
    settings = Settings(data_dir=tmp_path / "unused", **files)
    with pytest.raises(Failure, match=r"the classifier's certificate .* and key .* can't be used"):
        serve_here(settings)
    assert not settings.data_dir.exists()
