"""docs/backup.md is followed to the letter: its commands are run, on both databases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.plane_process import PlaneProcess
from tests.support.postgres import binaries, postgres

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "backup.md").read_text()
BLOCKS = dict(re.findall(r"^ *```sh ([a-z-]+)\n(.*?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE))


@contextmanager
def database(engine: str, directory: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{directory}/cellway.db"
        return
    with postgres() as server, server.database("guide") as url:
        yield url


class Reader:
    """Somebody who follows the guide in a shell."""

    def __init__(self, directory: Path, url: str, port: int) -> None:
        tools = directory / "bin"
        tools.mkdir()
        command = tools / "cellway"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m control_plane.cli.main "$@"\n')
        command.chmod(0o755)
        self._directory = directory
        self._environment = os.environ | {
            "PATH": f"{tools}:{binaries()}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CELLWAY_DATABASE_URL": url,
            "CELLWAY_SERVER": f"http://127.0.0.1:{port}",
            "NO_COLOR": "1",
        }

    def follow(self, block: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", BLOCKS[block]],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}: {done.stderr}"
        return done.stdout + done.stderr


def refused(plane: PlaneProcess, path: str, body: Any) -> str:
    answer = plane.api.post(path, json=body)
    assert answer.status_code == 409, answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_guide(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWAY_DATA_DIR", str(tmp_path / "data"))
    with database(engine, tmp_path) as url:
        roles = ("--roles", "api,topology")
        plane = PlaneProcess(tmp_path, "--database-url", url, *roles)
        reader = Reader(tmp_path, url, plane.api_port)
        with plane:
            for number in (1, 2):
                endpoints = [f"10.0.0.{number}:443"]
                body = {"name": f"c{number}", "address": f"c{number}.example", "state": "active"}
                plane.write("POST", "/v1/cells", body | {"endpoints": endpoints})
            plane.write("POST", "/v1/cells/c1/sequences", {"size": 100})
            claim = {"bucket": "route", "value": "kept", "cell": "c1"}
            plane.write("POST", "/v1/claims", {"claims": [claim]})
            reader.follow(f"{engine}-backup")
            plane.write("POST", "/v1/claims", {"claims": [claim | {"value": "later"}]})
            plane.write("POST", "/v1/cells/c2/sequences", {"size": 100})
            last = plane.api.get("/v1/fleet").json()["revision"]
        reader.follow(f"{engine}-restore")
        again = PlaneProcess(tmp_path, "--database-url", url, *roles)
        reader = Reader(tmp_path / "data", url, again.api_port)
        with again:
            assert again.api.get("/v1/claims/route/kept").json()["cell"] == "c1"
            assert again.api.get("/v1/claims/route/later").status_code == 404
            assert again.api.get("/v1/fleet").json()["revision"] > last
            assert again.api.get("/v1/changes?since=1").status_code == 410
            assert again.api.get("/v1/cells/c2/sequences").json()["ranges"] == []
            # What c2 was given after the backup is in use: nobody may get it now.
            told = refused(again, "/v1/cells/c1/sequences", {"size": 100})
            assert "restored from a backup" in told
            assert "ALARM" in reader.follow("confirm")
            new = again.write("POST", "/v1/cells/c1/sequences", {"size": 100})
            assert new["range"] == {"minval": 201, "maxval": 300}
            change = again.write("PATCH", "/v1/cells/c1", {"weight": 1}, **{"if-match": "*"})
            assert change["revision"] > last


def test_every_command_of_the_guide_is_run() -> None:
    assert set(BLOCKS) == {
        "sqlite-backup", "sqlite-restore", "postgresql-backup", "postgresql-restore", "confirm",
    }  # fmt: skip
    assert GUIDE.count("```") == 2 * len(BLOCKS)
