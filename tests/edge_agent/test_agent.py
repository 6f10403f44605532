"""The agent: what it leaves free when it can't start, and that it passes over mutual TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.edge_agent import agent as agent_module
from control_plane.edge_agent.agent import AgentSettings, running
from control_plane.edge_agent.channels import ClientTls
from control_plane.edge_agent.store import DirectoryTaken, SnapshotStore
from tests.edge_agent.ads_client import AdsClient
from tests.support.conditions import until
from tests.support.secured_plane import secured_plane

ANY_PORT = ("127.0.0.1", 0)
RULESET = '{"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}'


async def test_a_taken_port_leaves_the_directory_free(tmp_path: Path) -> None:
    async with running(AgentSettings("127.0.0.1:1", tmp_path / "a", listen=ANY_PORT)) as agent:
        port = int(agent.address.rpartition(":")[2])
        settings = AgentSettings("127.0.0.1:1", tmp_path / "b", listen=("127.0.0.1", port))
        with pytest.raises(OSError, match="is taken by another program"):
            async with running(settings):
                pass
        SnapshotStore(tmp_path / "b").close()
        with pytest.raises(DirectoryTaken):
            SnapshotStore(tmp_path / "a")


async def test_over_mutual_tls_it_is_its_node_and_no_other(tmp_path: Path) -> None:
    async with secured_plane(tmp_path) as secured:
        topology = secured.plane.topology
        version = topology.rulesets.put("r", RULESET, actor="test").value.version
        topology.rulesets.activate("r", version, actor="test")
        pair = secured.pairs["node"]
        certificate, key = secured.folder / "node.crt", secured.folder / "node.key"
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        tls = ClientTls(certificate, key, secured.folder / "server.ca", "localhost")
        target = f"127.0.0.1:{secured.plane.ports.grpc}"
        for number, group in enumerate(("edge", "other")):
            directory = tmp_path / f"snapshots-{number}"
            async with running(AgentSettings(target, directory, tls=tls)) as agent:
                asking = AdsClient(agent.address, node="n-1", group=group)
                async with asking as client, client.connected():
                    if group == "edge":
                        await until(lambda: agent.store.newest is not None)
                    else:
                        await until(client.ended)
                        assert "may not be served as node 'n-1'" in client.error
                        assert agent.store.newest is None


@pytest.mark.parametrize(("shown_s", "afterwards"), [(3600.0, 1), (0.0, 0)])
async def test_a_damaged_snapshot_is_shown_until_it_is_gone_and_some_time_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown_s: float, afterwards: int
) -> None:
    (tmp_path / f"{5:020}-{1:06}.snapshot").write_bytes(b"damaged")
    monkeypatch.setattr(agent_module, "BAD_SHOWN_S", shown_s)
    async with running(AgentSettings("127.0.0.1:1", tmp_path, listen=ANY_PORT)) as agent:
        registry = agent.metrics.registry
        assert registry.get_sample_value("cellway_agent_snapshots_bad") == 1
        agent.store.bad.clear()  # as the next good snapshot does
        assert registry.get_sample_value("cellway_agent_snapshots_bad") == afterwards
