"""Forgets old changes of a database.

It lies apart from `database`, since it loads the server, which takes three times as long.
"""

from __future__ import annotations

import asyncio
import contextlib

from control_plane.cli.client import Failure
from control_plane.cli.local.database import topology_failures
from control_plane.server import change_retention, changes_kept
from control_plane.settings import Settings
from control_plane.topology import Topology


def prune(settings: Settings, *, dry_run: bool) -> tuple[int, int]:
    """Forget old changes.

    Returns:
        How many changes were forgotten (or with ``dry_run`` would be), and the revision up to which
        all are.

    Raises:
        Failure: the archive can't be written.
    """
    with topology_failures(settings.database_url):
        topology = Topology.open(settings.database_url, migrate_first=False)
    with contextlib.closing(topology), topology_failures(settings.database_url):
        if dry_run:
            return changes_kept(settings).prunable(topology)
        try:
            rows = asyncio.run(change_retention(topology, settings).round())
        except OSError as error:
            raise Failure(f"nothing more was forgotten: the archive: {error}") from error
        return rows, topology.changes.oldest()
