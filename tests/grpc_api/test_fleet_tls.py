"""A real Envoy joins over mutual TLS: as itself, and as nobody else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.member_tls import MemberTls
from control_plane.process.envoy import Envoy
from tests.support.certificates import Authority, replace
from tests.support.secured_plane import Secured, secured_plane, server_files

RULESET = '{"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}'
WAIT_S = 30.0


def member(secured: Secured, node: str, group: str) -> FleetMember:
    """An Envoy that says it is this node, with the certificate of n-1 in edge."""
    pair = secured.pairs["node"]
    for name, content in (("crt", pair.certificate), ("key", pair.key)):
        (secured.folder / f"node.{name}").write_bytes(content)
    files = MemberTls(
        str(secured.folder / "node.crt"),
        str(secured.folder / "node.key"),
        str(secured.folder / "server.ca"),
        "localhost",
    )
    return FleetMember(
        node, group, ("127.0.0.1", secured.plane.ports.grpc), ("127.0.0.1", 0), tls=files
    )


def refusals(secured: Secured) -> float:
    name = "cellway_grpc_refusals_total"
    method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    return secured.metric(name, method=method, code="PERMISSION_DENIED")


@pytest.mark.slow
async def test_an_envoy_gets_its_configuration_over_mutual_tls(tmp_path: Path) -> None:
    async with secured_plane(tmp_path) as secured:
        topology = secured.plane.topology
        version = topology.rulesets.put("r", RULESET, actor="test").value.version
        topology.rulesets.activate("r", version, actor="test")
        envoy = Envoy(compile_bootstrap(member(secured, "n-1", "edge")), tmp_path / "n-1")
        await envoy.start()
        try:
            assert await secured.plane.fleet.joined("n-1", WAIT_S), envoy.tail()
            assert await secured.plane.fleet.wait(topology.revision(), WAIT_S) == ()
            assert refusals(secured) == 0
        finally:
            await envoy.stop()
        thief = Envoy(compile_bootstrap(member(secured, "n-1", "other")), tmp_path / "thief")
        await thief.start()
        try:
            async with asyncio.timeout(WAIT_S):
                while refusals(secured) == 0:
                    await asyncio.sleep(0.05)
            groups = {node.group for node in secured.plane.fleet.nodes() if node.connected}
            assert "other" not in groups
        finally:
            await thief.stop()


def write_node(folder: Path, authority: Authority) -> None:
    """Replace the files of Envoy's certificate."""
    pair = authority.sign("spiffe://cellway/node/edge/n-1")
    for name, content in (
        ("node.crt", pair.certificate),
        ("node.key", pair.key),
        ("ca.pem", authority.pem),
    ):
        replace(folder / name, content)


@pytest.mark.slow
async def test_an_envoy_reads_renewed_files_and_keeps_its_connection(tmp_path: Path) -> None:
    """All files of both sides are replaced. Envoy then trusts a control plane of another authority,
    and is trusted by it, without a restart."""
    tls, secrets, second = (tmp_path / name for name in ("tls", "secrets", "second"))
    for folder in (tls, secrets, second):
        folder.mkdir()
    renewed = Authority("renewed")
    async with secured_plane(tmp_path) as secured:
        port = secured.plane.ports.grpc
        write_node(tls, secured.authority)
        files = ("--tls-certificate", tls / "node.crt", "--tls-key", tls / "node.key")
        command("secrets", secrets, *files, "--tls-ca", tls / "ca.pem")
        text = command(
            *("bootstrap", "--node-id", "n-1", "--xds", f"127.0.0.1:{port}", "--admin-port", 0),
            *("--tls-server-name", "localhost", "--tls-secrets", secrets),
        )
        envoy = Envoy(text, tmp_path / "n-1")
        await envoy.start()
        assert await secured.plane.fleet.joined("n-1", WAIT_S), envoy.tail()
        write_node(tls, renewed)
        server_files(tmp_path, renewed)
        pair = renewed.sign("spiffe://cellway/admin")
        code = await secured.code(pair, "/grpc.health.v1.Health/Check", trust=renewed.pem)
        assert code is grpc.StatusCode.OK
        (node,) = secured.plane.fleet.nodes()
        assert node.connected, "a renewal breaks nothing off"
    try:
        async with secured_plane(second, authority=renewed, port=port) as other:
            assert await other.plane.fleet.joined("n-1", WAIT_S), envoy.tail()
    finally:
        await envoy.stop()


def command(*words: object) -> str:
    """Run ``cellway envoy …`` and return what it prints."""
    line = [sys.executable, "-m", "control_plane.cli.main", "envoy", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_prints_such_a_bootstrap() -> None:
    def bootstrap(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "control_plane.cli.main", "envoy", "bootstrap"]
        command += ["--node-id", "n-1", "--xds", "cp.example:18000", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    files = ("--tls-certificate", "/c", "--tls-key", "/k", "--tls-ca", "/a")
    (cluster,) = json.loads(bootstrap(*files).stdout)["staticResources"]["clusters"]
    socket = json.dumps(cluster["transportSocket"])
    assert all(text in socket for text in ('"/c"', '"/k"', '"/a"', '"cp.example"'))
    lacking = bootstrap(*files[:4])
    assert (lacking.returncode, "belong together" in lacking.stderr) == (2, True)
