"""A classifier process that may open no more files goes on answering edges."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

from tests.support.conditions import until
from tests.support.plane import add_cell, asking, plane_with, route_all, samples

SPARE = 20


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_without_descriptors_strangers_are_closed_and_edges_are_answered(
    tmp_path: Path,
) -> None:
    async with plane_with(tmp_path, classifier_workers=1) as (plane, api):
        add_cell(plane.topology)
        route_all(plane.topology)
        async with asking(plane) as client:
            assert (await client.get("/x")).headers["x-cellway-cell"] == "cell-1"
        pid = plane.workers[0].pid
        few = descriptors(pid) + SPARE
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
        address = ("127.0.0.1", plane.ports.classifier)
        strangers = [socket.create_connection(address) for _ in range(3 * SPARE)]
        async with asking(plane) as client:
            for _ in range(3):
                assert (await client.get("/x")).headers["x-cellway-cell"] == "cell-1"

        async def counted() -> bool:
            name = "cellway_classifier_connections_closed_total"
            return (await samples(api))[name, (("why", "no_descriptor"),)] > 0

        await until(counted)
        assert plane.workers[0].returncode is None
        for stranger in strangers:
            stranger.close()
