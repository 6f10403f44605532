"""``cellway edge-secret``: rotations are asked for, guarded, and show no secret."""

from __future__ import annotations

import json
from pathlib import Path

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import serving


def test_from_the_first_generation_to_the_next(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        cellway = Cellway(str(client.base_url))
        shown = json.loads(cellway("edge-secret", "show", "-o", "json").stdout)["edge_secret"]
        assert (shown["generation"], shown["grace_s"]) == (1, 0.0)
        assert shown.keys() == {"generation", "rotated_at", "grace_s"}
        assert cellway("edge-secret", "rotate", "--no-input").returncode == Exit.USAGE
        refused = cellway("edge-secret", "rotate", "--yes")
        assert (refused.returncode, "force" in refused.stderr) == (Exit.REFUSED, True)
        dry = cellway("edge-secret", "rotate", "--yes", "--force", "--dry-run")
        assert (dry.returncode, "would be rotated" in dry.stderr) == (0, True)
        rotated = cellway("edge-secret", "rotate", "--yes", "--force", "-o", "json")
        assert json.loads(rotated.stdout)["edge_secret"]["generation"] == 2
        assert "2" in cellway("edge-secret", "show").stdout
