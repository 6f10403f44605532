"""docs/fleet.md is followed to the letter on two machines, with and without certificates."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conditions import wait_until
from tests.support.network_hosts import Host, two_hosts, why_none

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "fleet.md").read_text()
BLOCKS = dict(re.findall(r"^```sh ([a-z-]+)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))
PLANE, EDGE = "10.0.0.1", "10.0.0.2"
FIREWALL = ("to", PLANE, "ipproto", "tcp", "dport", "18001", "unreachable")
UNKNOWN_YET = "curl -s -o /dev/null -w '%{http_code}' http://10.0.0.2:10000/t/other/hello"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """The machines of the page: plane and edge."""
    reason = why_none("curl", "openssl")
    if reason is not None:
        pytest.skip(f"no network namespaces here: {reason}")
    directories = tmp_path / "plane", tmp_path / "edge"
    for directory in directories:
        directory.mkdir()
    # The page's shipped ruleset is found by its name, and a file of that name goes first.
    shutil.copy(ROOT / "rulesets" / "generic.json", directories[0] / "generic")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "NO_COLOR": "1",
    }
    with two_hosts(directories, (PLANE, EDGE), environment) as both:
        yield both


def says(host: Host, log: str, text: str) -> None:
    file = host.directory / log
    wait_until(lambda: file.exists() and text in file.read_text(), timeout_s=60)


def start(plane: Host, edge: Host, variant: str = "") -> None:
    """Follow the page from the token to an Envoy that listens."""
    plane.follow(BLOCKS["token"])
    plane.follow(BLOCKS[f"plane{variant}"])
    edge.follow(BLOCKS["cell"] + BLOCKS[f"agent{variant}"])
    says(plane, "plane.log", "cellway is up")
    plane.follow(BLOCKS["topology"])
    wait_until((edge.directory / "edge-1" / "agent.sock").exists, timeout_s=30)
    edge.follow(BLOCKS["envoy"])
    wait_until(lambda: '"cell-1"' in ask(plane), timeout_s=60)


def held(state: str) -> str:
    """Return a command that prints how many edges report that they reach a classifier, or none."""
    sample = f'cellway_classifier_edges{{holds="{state}"}}'
    metrics = f"http://{PLANE}:8000/metrics"
    return (
        f"curl -s -H \"Authorization: Bearer $CELLWAY_TOKEN\" {metrics} | sed -n 's/^{sample} //p'"
    )


def ask(host: Host) -> str:
    return host.follow(BLOCKS["request"].rstrip() + " || true")


@pytest.mark.slow
def test_an_edge_of_another_machine_asks_the_classifier_and_says_when_it_cannot(
    hosts: tuple[Host, Host],
) -> None:
    plane, edge = hosts
    start(plane, edge)
    said = (plane.directory / "plane.log").read_text()
    assert f"xDS at {PLANE}:18000, and ask the classifier at {PLANE}:18001" in said
    wait_until(lambda: plane.follow(held("up")) == "1.0\n")
    status = plane.follow(f"{BLOCKS['status'].rstrip()} 2>&1")
    assert ("SYNCED" in status, "ALARM" in status) == (True, False), status

    edge.network("rule", "add", *FIREWALL)
    wait_until(lambda: plane.follow(held("down")) == "1.0\n", timeout_s=60)
    status = plane.follow(f"{BLOCKS['status'].rstrip()} 2>&1")
    assert "ALARM: 1 of 1 nodes that report can't reach a classifier" in " ".join(status.split())
    assert "SYNCED" in status
    assert plane.follow(UNKNOWN_YET) == "503"

    edge.network("rule", "del", *FIREWALL)
    wait_until(lambda: plane.follow(held("down")) == "0.0\n", timeout_s=60)
    assert plane.follow(UNKNOWN_YET) == "404"


@pytest.mark.slow
def test_with_certificates_an_edge_joins_and_asks_over_tls(hosts: tuple[Host, Host]) -> None:
    plane, edge = hosts
    plane.follow(BLOCKS["certificates"])
    for name in ("ca.crt", "edge-1.crt", "edge-1.key"):
        shutil.copy(plane.directory / name, edge.directory)
    start(plane, edge, "-tls")
    assert "SYNCED" in plane.follow(BLOCKS["status"])
    certificate = edge.follow(f"openssl s_client -connect {PLANE}:18001 < /dev/null 2>&1 || true")
    assert "CN = plane" in certificate
