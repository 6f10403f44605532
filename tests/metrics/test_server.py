"""What /metrics says, and under which names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from grpc import aio

from control_plane.metrics.database import query_name
from control_plane.names import CDS
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.move import MovePlan
from tests.support.conditions import until
from tests.support.plane import add_cell, plane_with, route_all, samples


async def test_gauges_are_as_of_the_scrape(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        values = await samples(client)
        assert values["cellway_ruleset_active", ()] == 0
        add_cell(plane.topology, "cell-1")
        add_cell(plane.topology, "cell-2")
        route_all(plane.topology)
        plane.topology.cells.set_health("cell-2", healthy=False, actor="test")
        values = await samples(client)
        assert values["cellway_ruleset_active", ()] == 1
        assert values["cellway_cell_up", (("cell", "cell-1"),)] == 1
        assert values["cellway_cell_up", (("cell", "cell-2"),)] == 0
        assert values["cellway_publication_refused", ()] == 0
        await until(lambda: plane.xds.cache.newest.revision == plane.topology.revision())
        values = await samples(client)
        assert values["cellway_revision", ()] == plane.topology.revision()


async def test_leases_and_ids_are_watched(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        topology = plane.topology
        add_cell(topology)
        values = await samples(client)
        assert values["cellway_leases", (("state", "open"),)] == 0
        assert values["cellway_lease_oldest_seconds", ()] == 0
        topology.leases.begin(1, [RecordSpec("route", "a")], [], actor="test")
        topology.sequences.allot("cell-1", 100, actor="test")
        topology.sequences.report("cell-1", 95, actor="test")
        await asyncio.sleep(0.01)
        values = await samples(client)
        assert values["cellway_leases", (("state", "open"),)] == 1
        assert values["cellway_lease_oldest_seconds", ()] > 0
        assert values["cellway_sequence_used_ratio", (("cell", "cell-1"),)] == 0.95
        assert values["cellway_sequences_restored", ()] == 0
        plane.settings.mark_file.write_text('{"mark": 1000}')
        assert (await samples(client))["cellway_sequences_restored", ()] == 1


async def test_moves_of_tenants_are_counted_by_state(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        topology = plane.topology
        add_cell(topology)
        add_cell(topology, "cell-2")
        assert (await samples(client))["cellway_moves", (("state", "planned"),)] == 0
        topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="test")
        plan = MovePlan("cell-1", "cell-2", "r", {"claims": [["route", "a"]]})
        topology.tenant_moves.plan(plan, actor="test")
        assert (await samples(client))["cellway_moves", (("state", "planned"),)] == 1


async def test_a_node_that_refuses_is_counted(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cell(plane.topology)
        route_all(plane.topology)
        async with aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel:
            call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
            node = base_pb2.Node(id="n1", cluster="edge")
            await call.write(discovery_pb2.DeltaDiscoveryRequest(node=node, type_url=CDS))
            # Both clusters at once, then each of them alone.
            for _ in range(3):
                response = await call.read()
                refusal = discovery_pb2.DeltaDiscoveryRequest(
                    type_url=CDS, response_nonce=response.nonce
                )
                refusal.error_detail.message = "no"
                await call.write(refusal)
            await until(lambda: plane.fleet.nodes()[0].state == "NACKED")
            values = await samples(client)
            assert values["cellway_fleet_nodes", (("state", "NACKED"),)] == 1
            assert values["cellway_xds_nacks_total", (("type", "Cluster"),)] == 3
            plane.topology.cells.set_health("cell-1", healthy=False, actor="test")
            await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=CDS))
            add_cell(plane.topology, "cell-2")
            await call.read()
            assert (await samples(client))["cellway_xds_push_seconds_count", ()] >= 1
            call.cancel()


async def test_a_revision_is_timed_until_its_nodes_run_it_and_not_without_nodes(
    tmp_path: Path,
) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cell(plane.topology, "cell-1")
        await until(lambda: plane.xds.cache.newest.revision == plane.topology.revision())
        assert (await samples(client))["cellway_propagation_seconds_count", ()] == 0
        async with aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel:
            call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
            node = base_pb2.Node(id="n1", cluster="edge")
            await call.write(discovery_pb2.DeltaDiscoveryRequest(node=node, type_url=CDS))
            response = await call.read()
            await call.write(
                discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, response_nonce=response.nonce)
            )
            before = plane.topology.revision()
            await until(lambda: plane.fleet.lagging(before) == ())
            # No ruleset is active, so that the node runs it without having to be sent anything.
            add_cell(plane.topology, "cell-2")
            await until(lambda: plane.xds.cache.newest.revision > before)
            values = await samples(client)
            assert values["cellway_revision", ()] == plane.topology.revision()
            assert values["cellway_propagation_seconds_count", ()] == 1
            assert values["cellway_propagation_seconds_sum", ()] > 0
            call.cancel()


async def test_statements_are_timed_by_verb_and_table(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cell(plane.topology)
        values = await samples(client)
        assert values["cellway_db_seconds_count", (("query", "select cells"),)] >= 1
        assert values["cellway_db_seconds_count", (("query", "insert cells"),)] == 1


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT a FROM claims WHERE x = 1", "select claims"),
        ("\n  insert into cells (a) values (1)", "insert cells"),
        ("UPDATE cells SET a = 1", "update cells"),
        ("DELETE FROM changes", "delete changes"),
        ('SELECT "x" FROM "revisions"', "select revisions"),
        ("PRAGMA data_version", "other"),
        ("BEGIN IMMEDIATE", "other"),
    ],
)
def test_query_names_are_few(statement: str, name: str) -> None:
    assert query_name(statement) == name
