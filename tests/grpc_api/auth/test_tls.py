"""The whole server behind mutual TLS: who gets in, what each may call, and renewed files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.server import running
from control_plane.settings import Settings
from tests.grpc_api.wire_client import PACKAGE, num, sub
from tests.support.certificates import Authority, channel, replace
from tests.support.secured_plane import WAIT_S, Secured, secured_plane, server_files

TS = f"/{PACKAGE}"
CLAIMS = f"{TS}.claims.v1.ClaimService"
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured_plane(tmp_path) as made:
        yield made


OWN, OTHERS = num(3, 3), num(3, 1)
ALLOWED = [
    (f"{TS}.ClassifyService/Classify", num(2, 1), "cell router admin"),
    (f"{TS}.ClassifyService/GetCells", b"", "cell router admin node"),
    (f"{TS}.CellService/GetCell", num(2, 1), "cell router admin node"),
    (f"{TS}.SequenceService/GetCells", b"", "cell router admin node"),
    (f"{TS}.HealthService/LivenessProbe", b"", "cell router admin node"),
    (f"{TS}.ClaimService/GetClaim", sub(1, num(1, 1) + sub(2, "x")), "cell router admin node"),
    (f"{CLAIMS}/GetCells", b"", "cell router admin node"),
    (f"{CLAIMS}/GetRecord", sub(1, num(1, 1) + sub(2, "x")), "admin"),
    (f"{CLAIMS}/BeginUpdate", OWN, "cell admin"),
    (f"{CLAIMS}/BeginUpdate", OTHERS, "admin"),
    (f"{CLAIMS}/BeginUpdate", b"", "admin"),
    *(
        (f"{CLAIMS}/{name}", num(1, cell), who)
        for name in ("CommitUpdate", "RollbackUpdate", "ListLeases", "ListRecords")
        for cell, who in ((3, "cell admin"), (2, "admin"))
    ),
    ("/grpc.health.v1.Health/Check", b"", "cell router admin node"),
    ("/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus", b"", "admin"),
]


async def test_each_method_lets_in_whom_its_rules_name(secured: Secured) -> None:
    for who in secured.pairs:
        for method, request, allowed in ALLOWED:
            code = await secured.code(who, method, request)
            if code is grpc.StatusCode.UNIMPLEMENTED:
                continue
            assert (code not in REFUSED) is (who in allowed.split()), (who, method, code)
            if who in {"nobody", "nameless"}:
                assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_refusals_are_logged_and_counted(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await secured.code("cell", f"{CLAIMS}/ListLeases", num(1, 1))
    assert "cell/3 may not act for cell 1" in caplog.text
    method = f"{CLAIMS}/ListLeases"
    name = "cellway_grpc_refusals_total"
    assert secured.metric(name, method=method, code="PERMISSION_DENIED") == 1
    await secured.code("nobody", method, num(1, 1))
    assert secured.metric(name, method=method, code="UNAUTHENTICATED") == 1


@pytest.mark.parametrize(
    "names",
    [
        [x509.DNSName("spiffe://cellway/admin")],
        [x509.RFC822Name("spiffe://cellway/admin")],
        [x509.UniformResourceIdentifier("spiffe://cellway/admin\0.evil.example")],
        [x509.UniformResourceIdentifier(f"spiffe://cellway/{name}") for name in ("x", "admin")],
    ],
)
async def test_only_a_single_and_whole_uri_is_a_name(
    secured: Secured, names: list[x509.GeneralName]
) -> None:
    pair = secured.authority.sign_names(names)
    for method in ("/grpc.health.v1.Health/Check", f"{CLAIMS}/GetRecord"):
        assert await secured.code(pair, method) is grpc.StatusCode.UNAUTHENTICATED


async def test_nobody_gets_in_without_a_certificate_of_the_authority(secured: Secured) -> None:
    health = "/grpc.health.v1.Health/Check"
    stranger = Authority("other").sign("spiffe://cellway/admin")
    expired = secured.authority.sign("spiffe://cellway/admin", days=-1)
    for pair in (None, stranger, expired):
        assert await secured.code(pair, health) is grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.insecure_channel(f"127.0.0.1:{secured.plane.ports.grpc}") as plain:
        with pytest.raises(grpc.aio.AioRpcError):
            await plain.unary_unary(health)(b"", timeout=WAIT_S)


def hello(node: str, group: str) -> Any:
    return discovery_pb2.DeltaDiscoveryRequest(
        node=base_pb2.Node(id=node, cluster=group),
        type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster",
    )


async def test_a_node_gets_the_configuration_of_its_own_group_only(secured: Secured) -> None:
    async def ask(who: str, node: str, group: str) -> grpc.StatusCode | None:
        port = secured.plane.ports.grpc
        async with channel(port, secured.authority.pem, secured.pairs[who]) as open_channel:
            stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(open_channel)
            call = stub.DeltaAggregatedResources(timeout=WAIT_S)
            with contextlib.suppress(grpc.aio.AioRpcError):
                # The refusal of a certificate may come before the message is written.
                await call.write(hello(node, group))
            if await secured.plane.fleet.joined(node, 0.5):
                call.cancel()
                return None
            code: grpc.StatusCode = await call.code()
            return code

    denied = grpc.StatusCode.PERMISSION_DENIED
    assert await ask("node", "n-1", "edge") is None
    assert await ask("node", "n-1x", "edge") is denied
    assert await ask("cell", "n-2", "edge") is denied
    assert await ask("admin", "n-3", "edge") is None
    (known,) = [node for node in secured.plane.fleet.nodes() if node.id == "n-1"]
    assert known.group == "edge"


async def test_a_node_can_t_become_another_within_its_stream(secured: Secured) -> None:
    port = secured.plane.ports.grpc
    async with channel(port, secured.authority.pem, secured.pairs["node"]) as open_channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(open_channel)
        for first, second in (
            (("n-1", "other"), None),
            (("n-1", "edge"), ("n-1", "other")),
            (("n-1", "edge"), ("n-2", "edge")),
        ):
            call = stub.DeltaAggregatedResources(timeout=WAIT_S)
            await call.write(hello(*first))
            if second is not None:
                await call.write(hello(*second))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                async for _ in call:
                    pass
            # The guard's, or that of the stream, which sticks to its node.
            assert ended.value.code() in REFUSED | {grpc.StatusCode.INVALID_ARGUMENT}


async def test_renewed_files_are_used_and_broken_ones_are_not(secured: Secured) -> None:
    health = "/grpc.health.v1.Health/Check"
    old = secured.authority
    failures = "cellway_grpc_tls_reload_failures_total"
    replace(secured.folder / "server.crt", b"no certificate")
    for _ in range(2):
        assert await secured.code("cell", health) is grpc.StatusCode.OK
    assert secured.metric(failures) == 1
    (secured.folder / "server.key").unlink()
    for _ in range(2):
        assert await secured.code("cell", health) is grpc.StatusCode.OK
    assert secured.metric(failures) == 2

    renewed = Authority("renewed")
    server_files(secured.folder, renewed)
    assert await secured.code("cell", health, trust=renewed.pem) is grpc.StatusCode.UNAVAILABLE
    fresh = renewed.sign("spiffe://cellway/cell/3")
    assert await secured.code(fresh, health, trust=renewed.pem) is grpc.StatusCode.OK
    assert await secured.code(fresh, health, trust=old.pem) is grpc.StatusCode.UNAVAILABLE
    assert secured.metric(failures) == 2


async def test_files_that_can_t_be_used_stop_the_start(tmp_path: Path) -> None:
    authority = Authority()
    server_files(tmp_path, authority)
    (tmp_path / "server.key").write_bytes(authority.sign().key)
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/topology.db",
        roles=("topology",),
        grpc_port=0,
        grpc_tls_certificate=tmp_path / "server.crt",
        grpc_tls_key=tmp_path / "server.key",
        grpc_tls_client_ca=tmp_path / "server.ca",
    )
    with pytest.raises(OSError, match="TLS files can't be used"):
        async with running(settings):
            pass


def broken(folder: Path, which: str) -> None:
    authority = Authority()
    match which:
        case "missing":
            (folder / "server.key").unlink()
        case "a folder":
            (folder / "server.crt").unlink()
            (folder / "server.crt").mkdir()
        case "another's key":
            (folder / "server.key").write_bytes(authority.sign().key)
        case "encrypted":
            key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
            sealed = serialization.BestAvailableEncryption(b"secret")
            form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
            (folder / "server.key").write_bytes(key.private_bytes(*form, sealed))
        case "swapped":
            key_file = (folder / "server.key").read_bytes()
            (folder / "server.key").write_bytes((folder / "server.crt").read_bytes())
            (folder / "server.crt").write_bytes(key_file)
        case "no key":
            (folder / "server.key").write_bytes((folder / "server.crt").read_bytes())
        case "empty":
            (folder / "server.ca").write_bytes(b"")


@pytest.mark.parametrize(
    ("which", "file", "says"),
    [
        ("missing", "server.key", "key .*: No such file or directory"),
        ("a folder", "server.crt", "certificate .*: Is a directory"),
        ("another's key", "server.key", "key .*: it does not belong to the certificate .*crt"),
        ("encrypted", "server.key", "key .*: it is encrypted: keep it in plain PEM"),
        ("swapped", "server.crt", "certificate .*: no certificate in PEM"),
        ("no key", "server.key", "key .*: no private key in PEM"),
        ("empty", "server.ca", "client CA .*: no certificates in PEM"),
    ],
)
def test_serve_says_which_file_is_wrong_and_does_not_start(
    tmp_path: Path, which: str, file: str, says: str
) -> None:
    # Longer than a line: what says where must stay in one piece, to be copied.
    folder = tmp_path / ("a-long-way-" * 8)
    folder.mkdir()
    server_files(folder, Authority())
    broken(folder, which)
    ended = serve(folder)
    assert ended.returncode == 1, ended.stderr
    assert re.search(f"gRPC's TLS files can't be used: the {says}", ended.stderr), ended.stderr
    assert str(folder / file) in ended.stderr
    assert not (folder / "t.db").exists(), "nothing was begun"
    assert "Traceback" not in ended.stderr


def serve(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    given = flags or (
        *("--grpc-tls-certificate", f"{folder}/server.crt"),
        *("--grpc-tls-key", f"{folder}/server.key"),
        *("--grpc-tls-client-ca", f"{folder}/server.ca"),
    )
    command = [sys.executable, "-m", "control_plane.cli.main", "serve", "--roles", "topology"]
    return subprocess.run(
        [*command, "--database-url", f"sqlite:///{folder}/t.db", "--grpc-port", "0", *given],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def test_the_flags_belong_together(tmp_path: Path) -> None:
    ended = serve(tmp_path, "--grpc-tls-key", f"{tmp_path}/server.key")
    assert ended.returncode == 2
    lacking = "belong together: grpc_tls_certificate, grpc_tls_client_ca is missing"
    assert lacking in " ".join(ended.stderr.split())


async def test_serve_speaks_tls_with_the_files_of_its_flags(tmp_path: Path) -> None:
    authority = Authority()
    server_files(tmp_path, authority)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "control_plane.cli.main", "serve", "--roles", "topology"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--database-url", f"sqlite:///{tmp_path}/t.db", "--grpc-port", str(port)),
        *("--grpc-tls-certificate", f"{tmp_path}/server.crt"),
        *("--grpc-tls-key", f"{tmp_path}/server.key"),
        *("--grpc-tls-client-ca", f"{tmp_path}/server.ca"),
        cwd=Path(__file__).parents[3],
    )
    try:
        pair = authority.sign("spiffe://cellway/admin")
        async with channel(port, authority.pem, pair) as open_channel:
            check = open_channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await check(b"", timeout=30, wait_for_ready=True) == num(1, 1)
    finally:
        process.terminate()
        assert await process.wait() == 0
