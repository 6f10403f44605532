"""The table of owners of a real control plane, through an agent, over mutual TLS."""

from __future__ import annotations

from pathlib import Path

from control_plane.edge_agent.agent import AgentSettings, running
from control_plane.edge_agent.channels import ClientTls
from control_plane.owners.frames import AGENT_LIVE, CONTROL_PLANE, CUT_OFF
from control_plane.owners.server.readers import SOURCES
from control_plane.topology.values.claim import ClaimSpec
from tests.owners.servers import Client
from tests.owners.tables import Reader
from tests.support.conditions import until
from tests.support.secured_plane import secured_plane

ME = "tester"


async def test_a_claim_reaches_the_edge_and_stays_there_without_a_control_plane(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "agent"
    async with secured_plane(tmp_path) as secured:
        pair = secured.pairs["node"]
        certificate, key = secured.folder / "node.crt", secured.folder / "node.key"
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        tls = ClientTls(certificate, key, secured.folder / "server.ca", "localhost")
        settings = AgentSettings(
            f"127.0.0.1:{secured.plane.ports.grpc}", directory, node_id="n-1", tls=tls
        )
        async with running(settings) as agent, Client(agent.address, Reader(key_id=0)) as envoy:
            await until_first_table(envoy)
            before = dict(envoy.reader.owners)
            claim = ClaimSpec("route", "new-name", "cell-1", "s1")
            revision = secured.plane.topology.claims.claim([claim], actor=ME).revision
            await envoy.until_revision(revision)
            (new,) = envoy.reader.owners.items() - before.items()
            await envoy.tell(CONTROL_PLANE)
            role = secured.plane.xds_role
            assert role is not None
            await until(lambda: role.owners.tables().get("n-1", {}).get("revision") == revision)
            assert role.owners.tables()["n-1"]["source"] == SOURCES[AGENT_LIVE]
            owners = dict(envoy.reader.owners)
        async with running(settings) as agent:
            await until(lambda: agent.owners.journal.revision >= revision)
    async with running(settings) as agent, Client(agent.address, Reader(key_id=0)) as envoy:
        await envoy.until_beat(CUT_OFF)
        assert envoy.reader.owners == owners
        assert owners[new[0]] == 1


async def until_first_table(envoy: Client) -> None:
    """Take frames until the first table is whole."""
    while not envoy.reader.table:
        await envoy.next()
