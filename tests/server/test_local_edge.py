"""One `cellway up` for each data directory and each port; the rest is in tests/cli/test_up.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import Envoy
from control_plane.process.envoy_admin import AdminSilent, EnvoyAdmin
from control_plane.process.listening import bind, port_of
from control_plane.server.local_edge import LocalEdge, NoEdge, drain, only_one
from control_plane.settings import Settings


def test_a_data_directory_is_for_one_system_at_a_time(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    taken = rf"\(pid {os.getpid()}\) runs in"
    with only_one(directory), pytest.raises(NoEdge, match=taken), only_one(directory):
        pass
    with only_one(directory):
        pass


async def test_the_edges_port_is_taken_before_anything_listens_there(tmp_path: Path) -> None:
    edge = LocalEdge(Settings(data_dir=tmp_path, edge_port=0), print, outlive=False)
    await edge.take_port()
    assert edge.port > 0
    second = LocalEdge(Settings(data_dir=tmp_path, edge_port=edge.port), print, outlive=False)
    with pytest.raises(OSError, match=r"is taken .*CELLWAY_EDGE_PORT"):
        await second.take_port()
    edge.give_back()
    with bind("127.0.0.1", edge.port) as sock:
        assert port_of(sock) == edge.port


class _Admin(EnvoyAdmin):
    """An Envoy with as many requests under way as its port says; on port 0 it is silent."""

    async def stop_accepting(self) -> None:
        if self.address.port == 0:
            raise AdminSilent("closed")

    async def under_way(self) -> int:
        return self.address.port

    async def drain(self, bound_s: float) -> int:
        return self.address.port if bound_s == 0 else 0


class _Proxy(Envoy):
    @property
    def running(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("requests", "bound_s", "texts"),
    [
        (0, 1, []),
        (2, 1, ["draining: 2 requests under way"]),
        (2, 0, ["draining: 2 requests under way", "2 requests were still under way after 0 s"]),
    ],
)
async def test_a_drain_says_what_it_waits_for_and_what_it_cuts(
    tmp_path: Path, requests: int, bound_s: float, texts: list[str]
) -> None:
    said: list[str] = []
    await drain(_Proxy("{}", tmp_path), _Admin(AdminAddress(port=requests)), bound_s, said.append)
    assert [text for text, start in zip(said, texts, strict=True) if text.startswith(start)] == said
