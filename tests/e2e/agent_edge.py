"""A control plane, an agent and an Envoy in processes of their own, which can be killed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.process.envoy import MODULES
from tests.e2e.echo_upstream import EchoUpstream
from tests.support.agent_process import AgentProcess
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.plane_process import PlaneProcess
from tests.support.raw_client import RawClient
from tests.support.system import RULESETS

FOR_CELL = re.compile(rb"x-cellway-cell: (.+)\r")
ASKED_BY_SESSION = [("cookie", b"_gitlab_session=cell-2-a")]


class EnvoyWithModules(EnvoyProcess):
    """An Envoy that looks for modules in a directory, if it is given one."""

    modules: Path | None = None

    def options(self) -> dict[str, Any]:
        own = {} if self.modules is None else {MODULES: str(self.modules)}
        return {"env": os.environ | own}


@dataclass
class Edge:
    """A control plane, an agent and an Envoy, each in a process of its own."""

    plane: PlaneProcess
    agent: AgentProcess
    envoy: EnvoyWithModules
    revision: int = 0
    """The revision of the last write."""

    def write(self, method: str, path: str, body: Any, **headers: str) -> Any:
        answer = self.plane.write(method, path, body, **headers)
        self.revision = answer["revision"]
        return answer

    def add_cell(self, name: str, port: int) -> None:
        body = {
            "name": name,
            "address": f"{name}.example.com",
            "endpoints": [f"127.0.0.1:{port}"],
            "session_prefix": name,
            "state": "active",
        }
        self.write("POST", "/v1/cells", body)

    def in_step(self) -> None:
        def followed() -> bool:
            items = self.plane.api.get("/v1/fleet").json()["items"]
            return any(i["connected"] and i["acked_revision"] >= self.revision for i in items)

        wait_until(followed)

    def on_disk(self) -> None:
        wait_until(lambda: self.agent.metric("cellway_agent_snapshot_revision") >= self.revision)

    def kill_all(self) -> None:
        """Kill everything but the cells."""
        self.plane.kill()
        self.plane.kill_classifiers()
        self.agent.kill()
        self.envoy.kill()

    def restart_edge(self) -> None:
        self.agent.start()
        self.envoy.start()

    def served(self) -> dict[str, tuple[int, str]]:
        """Return status and cell, as the edge wrote it into the request, of each kind of request."""
        with RawClient(self.plane.edge_port) as client:
            native = client.ask(b"/-/x", ASKED_BY_SESSION)
            ambiguous = client.ask(b"/foo/x")
        return {
            name: (status, arrived[1].decode() if (arrived := FOR_CELL.search(body)) else "")
            for name, (status, _, body) in (("native", native), ("ambiguous", ambiguous))
        }

    def shows_cells(self) -> bool:
        """Tell whether the filter that shows the cell to callers is there; it comes last."""
        with RawClient(self.plane.edge_port) as client:
            return "x-cellway-cell" in client.ask(b"/-/x", ASKED_BY_SESSION)[1]


@contextmanager
def running_edge(
    directory: Path, cells: Sequence[EchoUpstream], module: Path | None = None
) -> Iterator[Edge]:
    """Run an edge with two of the cells; Envoy and the agent's disk have the newest revision."""
    with ExitStack() as stack:
        plane = stack.enter_context(PlaneProcess(directory))
        agent = stack.enter_context(AgentProcess(directory, plane.grpc_port))
        envoy = EnvoyWithModules(bootstrap_of(agent, module), directory, wait_ready=False)
        envoy.modules = None if module is None else module.parent
        edge = Edge(plane, agent, envoy)
        for number, cell in enumerate(cells[:2], 1):
            edge.add_cell(f"cell-{number}", cell.port)
        claim = {"bucket": "route", "value": "foo", "cell": "cell-1"}
        edge.write("POST", "/v1/claims", {"claims": [claim]})
        gitlab = json.loads((RULESETS / "gitlab.json").read_text())
        stored = edge.write("PUT", "/v1/rulesets/gitlab", gitlab)["ruleset"]
        edge.write("POST", "/v1/rulesets/gitlab/activate", {"version": stored["version"]})
        stack.enter_context(edge.envoy)
        edge.in_step()
        edge.on_disk()
        yield edge


def bootstrap_of(agent: AgentProcess, module: Path | None) -> dict[str, Any]:
    """Return the bootstrap of the agent's Envoy, which says that it has a module or not."""
    admin = ("127.0.0.1", 0)
    member = FleetMember("n1", "edge", agent.socket, admin, module=str(module or ""))
    bootstrap: dict[str, Any] = json.loads(compile_bootstrap(member))
    return bootstrap
