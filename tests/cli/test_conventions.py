"""What holds for every command: exit statuses, output formats, dry runs, no questions, no colour."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import yaml
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.cli.client import Exit
from control_plane.names import CDS
from tests.cli.cellway_command import Cellway
from tests.support.system import RULESETS, System

TOKEN = "s3cret-of-the-cli-tests"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("cli"), cells=2, api_token=TOKEN) as running:
        running.api.headers["authorization"] = f"Bearer {TOKEN}"
        running.add_cells()
        yield running


@pytest.fixture(scope="module")
def cellway(system: System) -> Cellway:
    command = Cellway(server_of(system), CELLWAY_TOKEN=TOKEN)
    assert command("claims", "claim", "cell-1", "route:foo").returncode == 0
    assert command("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    assert command("rules", "apply", str(RULESETS / "generic.json")).returncode == 0
    assert command("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    return command


def server_of(system: System) -> str:
    return f"http://127.0.0.1:{system.plane.ports.api}"


READS = [
    (("cells", "list"), 0),
    (("cells", "get", "cell-1"), 0),
    (("claims", "list"), 0),
    (("claims", "get", "route:foo"), 0),
    (("rules", "list"), 0),
    (("rules", "show"), 0),
    (("rules", "lint", str(RULESETS / "gitlab.json")), 0),
    (("rules", "test", str(RULESETS / "gitlab.tests.yaml")), 0),
    (("rules", "diff", str(RULESETS / "generic.json")), 2),
    (("explain", "/foo"), 0),
    (("changes",), 0),
    (("fleet", "status"), 0),
    (("envoy", "bootstrap", "--node-id", "edge-7", "--xds", "cp:18000"), 0),
]
WRITES = [
    ("cells", "add", "cell-9", "--address", "c.example", "--endpoint", "10.0.0.1:1"),
    ("cells", "set", "cell-2", "--weight", "7"),
    ("cells", "remove", "cell-2"),
    ("claims", "claim", "cell-2", "route:new"),
    ("claims", "release", "route:foo"),
    ("rules", "apply", str(RULESETS / "passthrough.json")),
    ("rules", "rollback", "gitlab", "--version", "1"),
]


@pytest.mark.parametrize(("arguments", "status"), READS)
def test_every_read_speaks_json_and_yaml(
    cellway: Cellway, arguments: tuple[str, ...], status: int
) -> None:
    as_json = cellway(*arguments, "-o", "json")
    as_yaml = cellway(*arguments, "-o", "yaml")
    assert (as_json.returncode, as_yaml.returncode) == (status, status), as_json.stderr
    data = json.loads(as_json.stdout)
    assert data is not None
    # Times of fleet members go on, the rest is the same in both.
    if arguments[0] != "fleet":
        assert yaml.safe_load(as_yaml.stdout) == data


@pytest.mark.parametrize("arguments", WRITES)
def test_every_write_has_a_dry_run_that_changes_nothing(
    system: System, cellway: Cellway, arguments: tuple[str, ...]
) -> None:
    before = system.plane.topology.revision()
    dry = cellway(*arguments, "--dry-run", "-o", "json")
    # A live cell can't be removed; a dry run says that too.
    assert dry.returncode == (Exit.REFUSED if "remove" in arguments else 0), dry.stderr
    assert system.plane.topology.revision() == before
    if not dry.returncode:
        assert json.loads(dry.stdout)["dry_run"] is True
        assert "revision" not in dry.stderr or "would" in dry.stderr


def test_denied_without_or_with_a_wrong_token(system: System) -> None:
    for environment in ({}, {"CELLWAY_TOKEN": "wrong"}):
        ended = Cellway(server_of(system), **environment)("cells", "list")
        assert ended.returncode == Exit.DENIED
        assert "CELLWAY_TOKEN" in ended.stderr


def test_timed_out_when_a_node_does_not_answer(system: System, cellway: Cellway) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{system.plane.ports.grpc}") as channel:
        first = discovery_pb2.DeltaDiscoveryRequest(
            node=base_pb2.Node(id="deaf", cluster="edge"), type_url=CDS
        )
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        call = stub.DeltaAggregatedResources(_once_and_never(first))
        next(call)
        ended = cellway("cells", "set", "cell-2", "--weight", "99", "--wait", "--timeout", "300ms")
        call.cancel()
    assert ended.returncode == Exit.TIMED_OUT
    assert "not there yet: deaf" in ended.stderr


def _once_and_never(first: Any) -> Iterator[Any]:
    import threading

    yield first
    threading.Event().wait(30)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("cells", "get", "nowhere"), Exit.NOT_FOUND),
        (("cells", "get", "../claims"), Exit.NOT_FOUND),
        (("cells", "get", ".."), Exit.USAGE),
        (("claims", "get", "nonsense"), Exit.USAGE),
        (("cells", "set", "cell-1", "--weight", "3", "--if-match", '"99"'), Exit.CONFLICT),
        (("cells", "set", "cell-1", "--state", "retired"), Exit.REFUSED),
        (("cells", "add", "Bad Name", "--address", "x", "--endpoint", "h"), Exit.USAGE),
        (("cells", "list", "-o", "xml"), Exit.USAGE),
        (("cells",), Exit.USAGE),
        (("--server", "http://127.0.0.1:1", "cells", "list"), Exit.ERROR),
        (("cells", "remove", "cell-1"), Exit.USAGE),
    ],
)
def test_exit_statuses(cellway: Cellway, arguments: tuple[str, ...], status: Exit) -> None:
    ended = cellway(*arguments)
    assert ended.returncode == status, ended.stderr
    assert ended.stderr or status is Exit.USAGE
    assert "Traceback" not in ended.stderr


def test_a_write_may_wait_until_the_envoys_run_it(cellway: Cellway) -> None:
    applied = cellway("rules", "apply", str(RULESETS / "gitlab.json"), "--wait", "--timeout", "1m")
    assert applied.returncode == 0, applied.stderr
    status = cellway("fleet", "status", "-o", "json")
    assert "SYNCED" in {node["state"] for node in json.loads(status.stdout)["items"]}


def test_no_colour_when_told_so(system: System) -> None:
    server = server_of(system)
    colour = "\x1b[3"
    plain = Cellway(server, FORCE_COLOR="1", NO_COLOR="1").started("cells", "get", "x")
    painted = Cellway(server, FORCE_COLOR="1", NO_COLOR="").started("cells", "get", "x")
    assert colour not in plain.stderr
    assert colour in painted.stderr, "otherwise this tests nothing"
