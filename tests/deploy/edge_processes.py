"""A control plane, an agent and an Envoy in processes of their own, and their operator."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.process.unix_socket import socket_in
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch
from tests.support.agent_process import AgentProcess
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.plane_process import PlaneProcess
from tests.support.ports import unused_port
from tests.support.system import RULESETS, reconnecting_soon

CLASSIFIER_TIMEOUT_S = 0.25
"""The default."""


@dataclass
class EdgeProcesses:
    """The processes, each of which may be killed, stopped and started again."""

    directory: Path
    plane: PlaneProcess
    agent: AgentProcess
    envoy: EnvoyProcess
    admin: str

    @property
    def database(self) -> Path:
        return self.directory / "cellway.db"

    def runbook(self, page: str) -> Runbook:
        url = str(self.plane.api.base_url)
        return Runbook(page, url, CELLWAY_DATABASE_URL=f"sqlite:///{self.database}")

    def watch(self) -> Watch:
        """Return a watch over a system that is well, in which no alert fires."""
        one = Watch(self.scraped)
        wait_until(one.is_calm, 120)
        one.scrape()
        return one

    def scraped(self) -> str:
        """Return what Prometheus gets of the control plane and of the agent."""
        agent = f"http://127.0.0.1:{self.agent.metrics_port}/metrics"
        return _text(f"{self.plane.api.base_url}/metrics") + _text(agent)

    def change(self, weight: int) -> None:
        """Make a change of which every Envoy is told."""
        self.plane.write("PATCH", "/v1/cells/cell-1", {"weight": weight}, **{"if-match": "*"})

    def in_step(self) -> None:
        """Wait until Envoy runs the newest revision, and its agent has it on disk."""
        newest = self.plane.api.get("/readyz").json()["revision"]
        wait_until(lambda: self.agent.metric("cellway_agent_snapshot_revision") >= newest)

    def ask(self, name: str) -> int:
        """Ask the edge for a name; return the status."""
        url = f"http://127.0.0.1:{self.plane.edge_port}/{name}/x"
        return httpx.get(url, trust_env=False, timeout=20).status_code


def _text(url: str) -> str:
    """Return what an address answers; nothing if it does not, as Prometheus has nothing then."""
    try:
        answer = httpx.get(url, trust_env=False, timeout=10)
    except httpx.TransportError:
        return ""
    return answer.text if answer.status_code == 200 else ""


@contextlib.contextmanager
def edge_processes(directory: Path, *arguments: str) -> Iterator[EdgeProcesses]:
    """Run them; yield when Envoy runs the newest revision.

    Args:
        directory: Of all files.
        arguments: More of them for ``cellway serve``.
    """
    with contextlib.ExitStack() as stack:
        plane = PlaneProcess(directory, *arguments, classifier_timeout_s=CLASSIFIER_TIMEOUT_S)
        stack.enter_context(plane)
        admin = str(socket_in(directory, "admin.sock"))
        agent = AgentProcess(directory, plane.grpc_port, envoy_admin=f"unix:{admin}")
        stack.enter_context(agent)
        _fill(plane)
        member = FleetMember("n1", "edge", agent.socket, admin)
        bootstrap: dict[str, Any] = json.loads(reconnecting_soon(compile_bootstrap(member)))
        envoy = stack.enter_context(EnvoyProcess(bootstrap, directory))
        edge = EdgeProcesses(directory, plane, agent, envoy, admin)
        edge.in_step()
        yield edge


def _fill(plane: PlaneProcess) -> None:
    for number in (1, 2):
        cell = {
            "name": f"cell-{number}",
            "address": f"cell-{number}.example.com",
            "endpoints": [f"127.0.0.1:{unused_port()}"],
            "session_prefix": f"cell-{number}",
            "state": "active",
        }
        plane.write("POST", "/v1/cells", cell)
    gitlab = json.loads((RULESETS / "gitlab.json").read_text())
    version = plane.write("PUT", "/v1/rulesets/gitlab", gitlab)["ruleset"]["version"]
    plane.write("POST", "/v1/rulesets/gitlab/activate", {"version": version})
