"""``cellway token``: a token is created, used, refused more than its scope, and revoked."""

from __future__ import annotations

import json
from pathlib import Path

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import serving


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
        assert admin("token", "create", "x", "--scope", "god").returncode == Exit.ERROR
        assert admin("token", "revoke", "ci", "--no-input").returncode == Exit.USAGE
        assert admin("token", "revoke", "ci", "--yes").returncode == 0
        assert viewer("cells", "list").returncode == Exit.DENIED
