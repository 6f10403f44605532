"""A request is retried only if no cell can have seen it; idle connections are closed in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.conditions import wait_until
from tests.support.ports import unused_port
from tests.support.raw_client import RawClient
from tests.support.stream_servers import StreamServers
from tests.support.system import System

RULES = {
    "name": "r",
    "rules": [{"id": "all", "action": "classify", "classify": {"type": "FIRST_CELL"}}],
}


class Closing(StreamServers):
    """A cell that keeps connections, or closes them with each request that it has read."""

    def __init__(self, *, on_request: bool) -> None:
        super().__init__("closing")
        self._on_request = on_request
        self.seen: Counter[bytes] = Counter()
        self.closed_by_envoy = 0

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            self.seen[line.split()[1]] += 1
            while (await reader.readline()).strip():
                pass
            if self._on_request:
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        self.closed_by_envoy += 1


@contextmanager
def system_of(directory: Path, *ports: int, **settings: Any) -> Iterator[System]:
    with System(directory, 0, concurrency=1, **settings) as system:
        endpoints = [f"127.0.0.1:{port}" for port in ports]
        system.add_cell("cell-1", ports[0], endpoints=endpoints)
        system.use_ruleset(RULES)
        system.in_step()
        yield system


def test_a_dead_endpoint_costs_no_request(tmp_path: Path) -> None:
    with (
        Closing(on_request=False) as cell,
        system_of(tmp_path, cell.port, unused_port()) as system,
        RawClient(system.edge_port) as client,
    ):
        answers = Counter(client.ask(b"/x", method=method)[0] for method in ["GET", "POST"] * 100)
        assert answers == {200: 200}
        assert sum(system.stats(r"cluster\.cell-1\.upstream_rq_retry").values()) > 10


@pytest.mark.parametrize("endpoints", [1, 2])
def test_what_a_cell_may_have_seen_is_never_sent_twice(endpoints: int, tmp_path: Path) -> None:
    with (
        Closing(on_request=True) as one,
        Closing(on_request=True) as two,
        system_of(tmp_path, *[one.port, two.port][:endpoints]) as system,
        RawClient(system.edge_port) as client,
    ):
        for number in range(40):
            for method in ("GET", "POST", "PUT"):
                target = f"/{method}/{number}".encode()
                assert client.ask(target, method=method)[0] == 503
                assert one.seen[target] + two.seen[target] == 1


def test_an_idle_connection_to_a_cell_is_closed_by_envoy_in_time(tmp_path: Path) -> None:
    with (
        Closing(on_request=False) as cell,
        system_of(tmp_path, cell.port, cell_idle_timeout_s=0.2) as system,
        RawClient(system.edge_port) as client,
    ):
        assert client.ask(b"/x")[0] == 200
        assert cell.closed_by_envoy == 0
        wait_until(lambda: cell.closed_by_envoy == 1)
        # The next request gets a new connection.
        assert client.ask(b"/x")[0] == 200
