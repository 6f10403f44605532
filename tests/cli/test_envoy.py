"""``cellway envoy``: a bootstrap is printed, and options that can't work are refused before anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.cli import envoy
from control_plane.cli.client import Exit, Failure
from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway

cellway = Cellway("http://127.0.0.1:1")
BOOTSTRAP = ("envoy", "bootstrap", "--node-id", "edge-7")
TLS = ("--tls-certificate", "/c.pem", "--tls-key", "/k.pem", "--tls-ca", "/ca.pem")


def xds_cluster(document: dict[str, Any]) -> Any:
    (cluster,) = document["staticResources"]["clusters"]
    return cluster


def test_a_bootstrap_names_the_node_and_its_control_plane() -> None:
    document = json.loads(cellway(*BOOTSTRAP, "--xds", "[::1]:18000", "--group", "eu").stdout)
    assert document["node"] == {"id": "edge-7", "cluster": "eu"}
    ((one,),) = [
        part["lbEndpoints"] for part in xds_cluster(document)["loadAssignment"]["endpoints"]
    ]
    address = one["endpoint"]["address"]["socketAddress"]
    assert (address["address"], address["portValue"]) == ("::1", 18000)
    assert document["admin"]["address"]["pipe"] == {"path": "edge-7.admin.sock", "mode": 0o600}
    as_yaml = cellway(*BOOTSTRAP, "--xds", "[::1]:18000", "--group", "eu", "-o", "yaml").stdout
    assert yaml.safe_load(as_yaml) == document


def test_a_bootstrap_names_the_sockets_and_ports_of_its_options() -> None:
    for more, address in (
        (("--admin-socket", "/run/a.sock"), {"pipe": {"path": "/run/a.sock", "mode": 0o600}}),
        (("--admin-port", "1"), {"socketAddress": {"address": "127.0.0.1", "portValue": 1}}),
    ):
        document = json.loads(cellway(*BOOTSTRAP, "--xds", "unix:/run/agent.sock", *more).stdout)
        assert document["admin"]["address"] == address
        text = json.dumps(xds_cluster(document)["loadAssignment"])
        assert '"pipe": {"mode": 384, "path": "/run/agent.sock"}' in text
    odd = json.loads(cellway("envoy", "bootstrap", "--node-id", "../a/b").stdout)
    assert odd["admin"]["address"]["pipe"]["path"] == ".._a_b.admin.sock"


def test_a_bootstrap_with_tls_checks_the_name_of_its_control_plane() -> None:
    for more, name in (((), "cp.example"), (("--tls-server-name", "other"), "other")):
        done = cellway(*BOOTSTRAP, "--xds", "cp.example:18000", *TLS, *more)
        text = json.dumps(xds_cluster(json.loads(done.stdout))["transportSocket"])
        assert f'"sni": "{name}"' in text
        assert "/ca.pem" in text


def test_secrets_name_the_files_to_watch(tmp_path: Path) -> None:
    assert cellway("envoy", "secrets", str(tmp_path), *TLS).returncode == 0
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert "/c.pem" in texts["certificate.json"]
    assert "/ca.pem" in texts["authorities.json"]
    text = cellway(*BOOTSTRAP, "--tls-secrets", str(tmp_path)).stdout
    assert str(tmp_path / "certificate.json") in text
    nowhere = cellway("envoy", "secrets", str(tmp_path / "none"), *TLS)
    assert (nowhere.returncode, "No such file" in nowhere.stderr) == (Exit.ERROR, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--node-id", "a b"), "1 to 256 visible ASCII characters"),
        (("--node-id", "a", "--group", ""), "1 to 256 visible ASCII characters"),
        (("--node-id", "a", "--xds", "nohost"), "--xds 'nohost' is not host:port"),
        (("--node-id", "a", "--xds", "unix:"), "--xds 'unix:' names no socket"),
        (("--node-id", "a", "--xds", "unix:/a", *TLS), "an agent's socket has no TLS"),
        (("--node-id", "a", "--xds", "unix:/" + "a" * 107), "choose a shorter one with --xds"),
        (("--node-id", "a", "--admin-socket", "/" + "a" * 107), "shorter one with --admin-socket"),
        (
            ("--node-id", "a", "--admin-port", "1", "--admin-socket", "/a"),
            "--admin-port excludes --admin-socket",
        ),
        (
            ("--node-id", "a", "--admin-port", "1", "--stats-port", "2"),
            "--admin-port excludes --stats-port",
        ),
        (("--node-id", "a", *TLS[:4]), "--tls-certificate, --tls-key and --tls-ca belong together"),
        (("--node-id", "a", *TLS, "--tls-secrets", "/s"), "not both"),
    ],
)
def test_a_bootstrap_that_can_t_work_is_not_printed(options: tuple[str, ...], says: str) -> None:
    ended = cellway("envoy", "bootstrap", *options)
    assert (ended.returncode, ended.stdout, says in ended.stderr) == (Exit.USAGE, "", True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"listen": "0.0.0.0:18002"}, "give a loopback address"),
        ({"listen": "localhost:18002"}, "give a loopback address"),
        ({"listen": "18002"}, "--listen '18002' is not host:port"),
        ({"xds": "somewhere"}, "--xds 'somewhere' is not host:port"),
        ({"xds": "somewhere:65536"}, "is not host:port"),
        ({"listen": "unix:"}, "--listen 'unix:' names no socket"),
        ({"node_id": "a b"}, "--node-id 'a b' is no name"),
        ({"envoy_admin": "unix:"}, "--envoy-admin 'unix:' names no socket"),
        ({"envoy_admin": "9901"}, "--envoy-admin '9901' is not host:port"),
        ({"tls_server_name": "plane.example"}, "the TLS options belong together"),
        ({"tls_server_name": "spiffe://x/cp"}, "gRPC can't check a SPIFFE id"),
    ],
)
def test_an_agent_that_can_t_work_touches_nothing(
    tmp_path: Path, options: dict[str, str], says: str
) -> None:
    with pytest.raises(Failure, match=says) as raised:
        envoy.agent(snapshot_dir=tmp_path, **options)
    assert raised.value.status is Exit.USAGE
    assert list(tmp_path.iterdir()) == []


def bootstrap_at(answer: tuple[int, Any]) -> tuple[int, str, str]:
    with CannedApi({"/v1/fleet": answer}).running() as api:
        ended = Cellway(api.url)(*BOOTSTRAP)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_bootstrap_without_xds_has_the_address_that_the_server_tells_envoys() -> None:
    told = {"addresses": {"xds": "cp.example:4711", "classifiers": []}}
    _, stdout, _ = bootstrap_at((200, told))
    text = json.dumps(xds_cluster(json.loads(stdout))["loadAssignment"])
    assert '"address": "cp.example", "portValue": 4711' in text
    silent: list[dict[str, Any]] = [{"addresses": {"xds": None}}, {"revision": 1}]
    for answer in silent:
        status, stdout, stderr = bootstrap_at((200, answer))
        assert (status, stdout) == (Exit.USAGE, "")
        assert "give --xds HOST:PORT" in stderr


def test_loopback_is_assumed_aloud_and_for_a_server_of_this_machine_only() -> None:
    here = cellway(*BOOTSTRAP)
    assert "--xds 127.0.0.1:18000 is assumed, for this machine" in " ".join(here.stderr.split())
    assert '"portValue": 18000' in json.dumps(json.loads(here.stdout))
    elsewhere = Cellway("http://plane.invalid:1")(*BOOTSTRAP)
    assert (elsewhere.returncode, elsewhere.stdout) == (Exit.ERROR, "")
    assert "give --xds HOST:PORT" in elsewhere.stderr
