"""What holds for every command: exit statuses, output formats, dry runs, no questions, no colour."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.cli.client import Exit
from control_plane.cli.main import hoist
from control_plane.names import CDS
from tests.cli.cellway_command import Cellway
from tests.support.system import RULESETS, System

TOKEN = "s3cret"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("cli"), cells=2, api_token=TOKEN) as running:
        running.api.headers["authorization"] = f"Bearer {TOKEN}"
        running.add_cells()
        yield running


@pytest.fixture(scope="module")
def cellway(system: System) -> Cellway:
    made = Cellway(server_of(system), CELLWAY_TOKEN=TOKEN)
    assert made("claims", "claim", "cell-1", "route:foo").returncode == 0
    assert made("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    assert made("rules", "apply", str(RULESETS / "generic.json")).returncode == 0
    assert made("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    return made


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
    (("envoy", "bootstrap", "--node-id", "edge-7"), 0),
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
    told = cellway(*arguments, "--dry-run", "-o", "json")
    # A live cell can't be removed; a dry run says that too.
    assert told.returncode == (Exit.REFUSED if "remove" in arguments else 0), told.stderr
    assert system.plane.topology.revision() == before
    if not told.returncode:
        assert json.loads(told.stdout)["dry_run"] is True
        assert "revision" not in told.stderr or "would" in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("cells", "remove", "cell-1"),
        ("claims", "release", "route:foo"),
        ("rules", "rollback", "gitlab", "--version", "1"),
    ],
)
def test_what_is_severe_is_not_done_unasked(
    system: System, cellway: Cellway, arguments: tuple[str, ...]
) -> None:
    before = system.plane.topology.revision()
    ended = cellway(*arguments, "--no-input")
    assert (ended.returncode, "--yes" in ended.stderr) == (Exit.USAGE, True)
    assert ended.stdout == ""
    assert system.plane.topology.revision() == before


def test_denied_without_or_with_a_wrong_token(system: System) -> None:
    for environment in ({}, {"CELLWAY_TOKEN": "wrong"}):
        ended = Cellway(server_of(system), **environment)("cells", "list")
        assert ended.returncode == Exit.DENIED
        assert "Authorization" in ended.stderr


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
    ("arguments", "says"),
    [
        (("cells", "add", "x", "--address", "x", "--endpoint", "h:1", "--label", "oops"), "label"),
        (("cells", "set", "cell-1"), "nothing to change"),
        (("envoy", "bootstrap", "--node-id", "a b"), "visible ASCII"),
        (("envoy", "bootstrap", "--node-id", "a", "--xds", "nohost"), "host:port"),
        (("rules", "diff", str(RULESETS / "gitlab.tests.yaml")), "is not JSON"),
        (("cells", "list", "-o", "xml"), "xml"),
    ],
)
def test_usage_errors_say_what_to_write(
    cellway: Cellway, arguments: tuple[str, ...], says: str
) -> None:
    ended = cellway(*arguments)
    assert ended.returncode == Exit.USAGE, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_colour_when_told_so(system: System) -> None:
    server = server_of(system)
    colour = "\x1b[3"
    plain = Cellway(server, FORCE_COLOR="1", NO_COLOR="1")("cells", "get", "x")
    painted = Cellway(server, FORCE_COLOR="1", NO_COLOR="")("cells", "get", "x")
    assert colour not in plain.stderr
    assert colour in painted.stderr, "otherwise this tests nothing"


def test_the_short_form_of_output_may_stand_anywhere() -> None:
    assert hoist(["cells", "list", "-ojson"]) == ["-ojson", "cells", "list"]


def test_a_database_is_not_migrated_by_a_dry_run(cellway: Cellway, tmp_path: Path) -> None:
    url = ("--database-url", f"sqlite:///{tmp_path}/new.db")
    told = cellway("db", "migrate", "--dry-run", "-o", "json", *url)
    assert json.loads(told.stdout)["dry_run"] is True
    assert json.loads(told.stdout)["migrations"]
    missing = cellway("db", "check", "-o", "json", *url)
    assert missing.returncode == Exit.ERROR
    assert json.loads(missing.stdout)["missing"] == json.loads(told.stdout)["migrations"]


def test_commands_that_call_a_server_import_nothing_of_one() -> None:
    """They start in half the time; whoever works at 3 a.m. waits for each."""
    heavy = "{'sqlalchemy', 'pydantic', 'grpc', 'starlette', 'alembic'}"
    code = f"import sys, control_plane.cli.main; print(*{heavy}.intersection(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
