"""``cellway token``: a token is created, used, refused more than its scope, and revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import serving


@pytest.mark.parametrize("token", ["", " ", "\n", "a b", "\xe4\xf6", "a\n"])
def test_an_empty_or_broken_token_is_a_wrong_usage_and_none(tmp_path: Path, token: str) -> None:
    with serving(tmp_path) as client:
        server = str(client.base_url)
        for command, flags in (
            (Cellway(server, CELLWAY_TOKEN=token), ()),
            (Cellway(server), ("--token", token)),
        ):
            ended = command(*flags, "cells", "list")
            assert (ended.returncode, ended.stdout) == (Exit.USAGE, "")
            assert "token" in ended.stderr


def test_any_user_s_name_reaches_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "j\xf6rg) api@10.0.0.1 (" + "x" * 300)
    with serving(tmp_path) as client:
        made = Cellway(str(client.base_url))("token", "create", "ci")
        assert made.returncode == 0, made.stderr
        (change,) = client.get("/v1/audit").json()["items"]
    assert change["actor"].startswith("api (j\\xf6rg_ api@10.0.0.1 _xx")
    assert change["actor"].endswith("/cli)@127.0.0.1")


def test_from_creation_to_revocation(tmp_path: Path) -> None:
    with serving(tmp_path, token="bootstrap") as client:
        server = str(client.base_url)
        admin = Cellway(server, CELLWAY_TOKEN="bootstrap")
        dry = admin("token", "create", "ci", "--dry-run", "-o", "json")
        assert "secret" not in json.loads(dry.stdout)
        created = admin("token", "create", "ci", "--scope", "viewer", "--expires", "90d")
        assert created.returncode == 0, created.stderr
        secret = created.stdout.strip()
        assert secret not in created.stderr
        viewer = Cellway(server, CELLWAY_TOKEN=secret)
        assert viewer("cells", "list").returncode == 0
        add = ("cells", "add", "c", "--address", "c.example", "--endpoint", "10.0.0.1:1")
        denied = viewer(*add)
        assert (denied.returncode, "needs the scope operator" in denied.stderr) == (5, True)
        listed = json.loads(admin("token", "list", "-o", "json").stdout)
        assert [(one["name"], one["scope"]) for one in listed] == [("ci", "viewer")]
        assert admin("token", "create", "ci").returncode == Exit.CONFLICT
        assert admin("token", "create", "x", "--expires", "soon").returncode == Exit.USAGE
        assert admin("token", "create", "x", "--scope", "god").returncode == Exit.USAGE
        assert admin("token", "revoke", "ci", "--no-input").returncode == Exit.USAGE
        assert admin("token", "revoke", "ci", "--yes").returncode == 0
        assert viewer("cells", "list").returncode == Exit.DENIED
