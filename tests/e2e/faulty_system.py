"""The whole system in processes that can be killed and stopped one by one, on PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from tests.e2e.agent_edge import EnvoyWithModules
from tests.e2e.load import get
from tests.support.agent_process import AgentProcess
from tests.support.child_process import ChildProcess, listens
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.module_everywhere import module_everywhere
from tests.support.plane_process import PlaneProcess
from tests.support.ports import unused_port
from tests.support.postgres import Postgres, postgres
from tests.support.system import RULESETS, reconnecting_soon

CLASSIFIER_TIMEOUT_S = 0.5
"""Twice the default: on a busy machine an answer that is late must not look like a fault."""
NEW_KEYS = 8_000
BATCH = 1000


class CellProcess(ChildProcess):
    """An example cell as a process."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(directory / f"{name}.log")
        self.name = name
        self.port = unused_port()

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "control_plane.example_cell"),
            *("--name", self.name, "--port", str(self.port)),
        ]

    def is_up(self) -> bool:
        return listens(self.port)


@dataclass
class FaultySystem:
    """The processes of a system with two cells, of which the first owns every claim."""

    database: Postgres
    plane: PlaneProcess
    agent: AgentProcess
    envoy: EnvoyProcess
    cells: list[CellProcess]

    @property
    def has_map(self) -> bool:
        """Whether the edge knows every owner, so that it asks no classifier."""
        return module_everywhere() is not None

    def synced(self) -> bool:
        """Tell whether Envoy follows, as the control plane says."""
        items = self.plane.api.get("/v1/fleet").json()["items"]
        return any(item["connected"] and item["state"] == "SYNCED" for item in items)

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Lock the claims: every look-up waits, as with a very slow database."""
        with psycopg.connect(self.database.url()) as connection:
            connection.execute("LOCK TABLE claims IN ACCESS EXCLUSIVE MODE")
            yield


class Requests:
    """One request of each kind. The key of a `new` request has never been asked for.

    With `again`, `new` starts over when all keys are used up.
    """

    def __init__(self, *, again: bool = False) -> None:
        self._number = itertools.count()
        self._again = again

    def new(self) -> bytes:
        """Return a request for a claim that nobody has asked for: no cache can answer it."""
        number = next(self._number)
        if self._again:
            number %= NEW_KEYS
        assert number < NEW_KEYS, "no new keys are left: make NEW_KEYS larger"
        return get(f"/new-{number}/x".encode())

    native = get(b"/-/x", b"_gitlab_session=cell-2-a")
    seen = get(b"/new-0/x")


@contextlib.contextmanager
def faulty_system(directory: Path) -> Iterator[FaultySystem]:
    """Start everything; yield when Envoy runs the newest revision."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        cells = [stack.enter_context(CellProcess(f"cell-{n}", directory)) for n in (1, 2)]
        plane = PlaneProcess(
            directory,
            "--database-url",
            database.url(),
            classifier_timeout_s=CLASSIFIER_TIMEOUT_S,
        )
        stack.enter_context(plane)
        agent = stack.enter_context(AgentProcess(directory, plane.grpc_port))
        for cell in cells:
            plane.write(
                "POST",
                "/v1/cells",
                {
                    "name": cell.name,
                    "address": f"{cell.name}.example.com",
                    "endpoints": [f"127.0.0.1:{cell.port}"],
                    "session_prefix": cell.name,
                    "state": "active",
                },
            )
        for first in range(0, NEW_KEYS, BATCH):
            claims = [
                {"bucket": "route", "value": f"new-{number}", "cell": "cell-1"}
                for number in range(first, first + BATCH)
            ]
            plane.write("POST", "/v1/claims", {"claims": claims})
        gitlab = json.loads((RULESETS / "gitlab.json").read_text())
        stored = plane.write("PUT", "/v1/rulesets/gitlab", gitlab)["ruleset"]
        plane.write("POST", "/v1/rulesets/gitlab/activate", {"version": stored["version"]})
        module = module_everywhere()
        admin = ("127.0.0.1", 0)
        member = FleetMember("n1", "edge", agent.socket, admin, module=str(module or ""))
        bootstrap = json.loads(reconnecting_soon(compile_bootstrap(member)))
        envoy = EnvoyWithModules(bootstrap, directory)
        envoy.modules = None if module is None else module.parent
        stack.enter_context(envoy)
        system = FaultySystem(database, plane, agent, envoy, cells)
        wait_until(system.synced)
        yield system
