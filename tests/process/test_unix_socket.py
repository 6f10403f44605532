"""Where sockets lie: beside the data if the kernel takes the path, else in a short directory."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from control_plane.process.unix_socket import (
    MAX_SOCKET_PATH_BYTES,
    check_path,
    check_unused,
    socket_in,
)


@pytest.mark.parametrize("extra", [-1, 0, 1, 60])
def test_a_socket_always_finds_a_place_that_the_kernel_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    extra: int,
) -> None:
    # pytest's own directories may be deep.
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(short))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    missing = MAX_SOCKET_PATH_BYTES + extra - len(os.fsencode(tmp_path / "d" / "a.sock"))
    deep = tmp_path / ("d" * (1 + missing))
    path = socket_in(deep, "a.sock")
    assert path.is_relative_to(short if extra > 0 else deep)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert socket_in(deep, "a.sock") == path, "the next run finds it"
        with pytest.raises(OSError, match="another program serves"):
            check_unused(path, "with --x")
    check_unused(path, "with --x")
    assert socket_in(tmp_path / ("e" * (1 + missing)), "a.sock") != path


def test_a_path_that_can_t_be_a_sockets_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"has 108 bytes in its path, over 107: .* with --x"):
        check_path("/" + "a" * 107, "--x")
    for bad in ("", "/a\0b"):
        with pytest.raises(OSError, match="no path of a socket: change --x"):
            check_path(bad, "--x")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="is no socket"):
        check_unused(tmp_path / "file", "--x")
