"""The owners stream of a whole control plane: what is shown of it, who may follow, PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from control_plane.names import OWNERS_SERVICE
from control_plane.owners.frames import (
    BEAT,
    FOLLOW,
    STATUS,
    ClientMessage,
    Frame,
    decode,
    encode_client,
)
from control_plane.server import Running
from control_plane.topology.values.claim import ClaimSpec
from tests.owners.tables import Reader
from tests.support.certificates import channel
from tests.support.plane import add_cells, plane_with, samples
from tests.support.postgres import postgres
from tests.support.secured_plane import secured_plane

METHOD = f"/{OWNERS_SERVICE}/Follow"


class Followed:
    """A stream of a control plane, and the table that it brings."""

    def __init__(self, open_channel: Any, reader: Reader, node: str) -> None:
        self.call = open_channel.stream_stream(METHOD)()
        self.reader, self.node = reader, node

    async def begin(self) -> None:
        first = self.reader.follow()
        await self.send(ClientMessage(FOLLOW, first.revision, first.table, node_id=self.node))

    async def send(self, message: ClientMessage) -> None:
        await self.call.write(encode_client(message))

    async def take(self) -> Frame:
        data = await self.call.read()
        assert data is not grpc.aio.EOF, await self.call.details()
        frame = decode(data)
        self.reader.take(frame)
        return frame

    async def upto(self, revision: int) -> None:
        while self.reader.revision < revision:
            await self.take()

    async def beat(self, least_age_ms: int = 0, most_age_ms: int = 1 << 32) -> None:
        while True:
            frame = await self.take()
            if frame.kind == BEAT and least_age_ms <= frame.age_ms <= most_age_ms:
                return


@contextlib.asynccontextmanager
async def following(
    plane: Running, reader: Reader | None = None, node: str = "n-1"
) -> AsyncIterator[Followed]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as opened:
        one = Followed(opened, reader or Reader(0), node)
        await one.begin()
        yield one


async def test_the_fleet_and_the_metrics_tell_of_each_table(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cells(plane.topology)
        assert plane.xds_role.owners.feed.journal.base is None, "nobody has come yet"
        async with following(plane) as one:
            await one.upto(plane.topology.revision())
            assert len(one.reader.owners) == 4
            await one.beat(most_age_ms=900)
            status = ClientMessage(
                STATUS, one.reader.revision, one.reader.table, 2, 4, node_id="n-1"
            )
            await one.send(status)
            while not (await other_maps(client))[0]["revision"]:
                await asyncio.sleep(0.01)
            (told,) = await other_maps(client)
            assert told.pop("lag_s") < 10
            assert told == {
                "node": "n-1", "revision": plane.topology.revision(), "names": 4,
                "current_table": True, "source": "its agent",
            }  # fmt: skip
            read = await samples(client)
            assert read["cellway_edge_map_revision", ()] == plane.topology.revision()
            assert read["cellway_edge_map_readers", (("state", "whole"),)] == 1
            assert read["cellway_edge_map_readers", (("state", "loading"),)] == 0
            assert read["cellway_edge_map_lag_seconds", ()] < 10
        while await other_maps(client):
            await asyncio.sleep(0.01)


async def other_maps(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    maps: list[dict[str, Any]] = (await client.get("/v1/fleet")).json()["other_edge_maps"]
    return maps


async def test_the_key_is_told_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cells(plane.topology)
        key = plane.topology.owners.table().key
        async with following(plane) as one:
            await one.beat()
            paths = ("/v1/fleet", "/v1/topology", "/v1/changes", "/metrics", "/v1/claims/export")
            told = [(await client.get(path)).text for path in paths]
        assert key.hex() not in json.dumps(told) + caplog.text + repr(plane.settings)


async def test_only_nodes_and_admins_follow_and_a_node_under_its_own_name(tmp_path: Path) -> None:
    async with secured_plane(tmp_path) as secured:
        plane = secured.plane

        async def outcome(who: str, node: str) -> grpc.StatusCode:
            pair, port = secured.pairs[who], plane.ports.grpc
            async with channel(port, secured.authority.pem, pair) as opened:
                one = Followed(opened, Reader(0), node)
                try:
                    await one.begin()
                    await one.beat()
                except AssertionError:
                    refused: grpc.StatusCode = await one.call.code()
                    return refused
                except grpc.aio.AioRpcError as error:
                    return error.code()
                (status,) = plane.xds_role.owners.server.statuses()
                assert status.node == (node or "n-1")
                return grpc.StatusCode.OK

        assert await outcome("node", "n-1") is grpc.StatusCode.OK
        while plane.xds_role.owners.server.streams:
            await asyncio.sleep(0.001)
        assert await outcome("node", "") is grpc.StatusCode.OK
        while plane.xds_role.owners.server.streams:
            await asyncio.sleep(0.001)
        assert await outcome("admin", "n-7") is grpc.StatusCode.OK
        denied = grpc.StatusCode.PERMISSION_DENIED
        assert [await outcome(*one) for one in (("node", "n-2"), ("cell", ""), ("router", ""))] == (
            [denied] * 3
        )
        assert await outcome("nobody", "n-1") is grpc.StatusCode.UNAUTHENTICATED
        assert await outcome("nameless", "n-1") is grpc.StatusCode.UNAUTHENTICATED


async def test_replicas_on_postgresql_serve_one_table_through_a_crash_of_the_server(
    tmp_path: Path,
) -> None:
    def claim(plane: Running, name: str) -> int:
        spec = ClaimSpec("route", name, "cell-1")
        return plane.topology.claims.claim([spec], actor="t").revision

    with postgres() as server:
        settings = {"database_url": server.url(), "roles": ("xds", "api")}
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with (
            plane_with(tmp_path / "a", **settings) as (first, _),
            plane_with(tmp_path / "b", **settings) as (second, _),
        ):
            add_cells(first.topology)
            reader = Reader(0)
            async with following(first, reader) as one:
                await one.upto(claim(second, "x"))
                await one.beat(most_age_ms=900)
            missed = claim(first, "y")
            async with following(second, reader) as one:
                await one.upto(missed)
                assert reader.begun == 1, "the other replica goes on with the same table"
                server.kill()
                await one.beat(least_age_ms=1_100)
                server.start()
                await one.beat(most_age_ms=900)
                await one.upto(await asyncio.to_thread(claim, second, "z"))
                assert reader.begun == 1, "a crash loses nothing"
                assert len(reader.owners) == 7
