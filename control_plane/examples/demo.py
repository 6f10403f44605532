"""``make demo``: a fleet of cells behind a real Envoy, asked real questions."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from control_plane.cli.local import everything
from control_plane.cli.output import table_of
from control_plane.names import CELL_HEADER, RULE_HEADER, TIER_HEADER
from control_plane.process.event_loop import run_loop, until_signal
from control_plane.process.listening import free_port
from control_plane.routing.tokens import encode_routable_token
from control_plane.settings import Settings

RULESET = Path(__file__).parents[2] / "rulesets" / "gitlab.json"
CELL_START_S = 20.0
BACKGROUND_REQUESTS = 400
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

CLAIMS = {
    "cell-1": ("route:gitlab-org", "route:acme", "username:alice", "project_id:278964",
               "organization_path:default"),
    "cell-2": ("route:globex", "route:john.doe", "username:bob", "namespace_id:4242",
               "email:bob@globex.example"),
    "cell-3": ("route:initech", "redirect_route:old-initech", "username:carol",
               "organization_path:initech", "organization_id:77"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the tour, and the cells that may answer (empty: any)."""

    what: str
    path: str
    cells: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def tour() -> Sequence[Asked]:
    """Requests of every kind."""
    token = encode_routable_token("glpat-", {"c": 2, "u": 7}, secrets.token_bytes(16))
    session = "_gitlab_session=cell-3-5f2b9c"
    return (
        Asked("anonymous", "/explore"),
        Asked("anonymous, nobody's name", "/no-such-group/thing"),
        Asked("session", "/dashboard/projects", ("cell-3",), {"cookie": session}),
        Asked("session of no cell", "/dashboard", (), {"cookie": "_gitlab_session=cell-99-ff"}),
        Asked("forced cell", "/globex/web", ("cell-1",), {"cookie": "force-cell=cell-1"}),
        Asked("token", "/api/v4/user", ("cell-2",), {"private-token": token}),
        Asked("token, bearer", "/api/v4/jobs", ("cell-2",), {"authorization": f"Bearer {token}"}),
        Asked("token, malformed", "/api/v4/user", (), {"private-token": token[:-1] + "!"}),
        Asked("project page", "/gitlab-org/gitlab/-/issues", ("cell-1",)),
        Asked("project page, other session", "/acme/site", ("cell-1",), {"cookie": session}),
        Asked("name with a dot", "/john.doe/dotfiles", ("cell-2",)),
        Asked("format suffix", "/globex.json", ("cell-2",)),
        Asked("renamed group", "/old-initech/app", ("cell-3",)),
        Asked("group page", "/groups/initech/-/issues", ("cell-3",)),
        Asked("user page", "/users/bob/activity", ("cell-2",)),
        Asked("organization", "/o/initech/projects", ("cell-3",)),
        Asked("API by id", "/api/v4/projects/278964/issues", ("cell-1",)),
        Asked("API by path", "/api/v4/projects/globex%2Fweb/pipelines", ("cell-2",)),
        Asked("a client's own header", "/acme/site", ("cell-1",), {CELL_HEADER: "cell-2"}),
    )


@contextlib.asynccontextmanager
async def example_cell(name: str, port: int) -> AsyncIterator[None]:
    """A cell in a process of its own, ready to be asked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "control_plane.example_cell", "--name", name, "--port", str(port)
    )
    try:
        async with asyncio.timeout(CELL_START_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def choose_port(wanted: int) -> int:
    """Return this port if it is free; else say so, and return another one."""
    port = free_port(wanted)
    if port != wanted:
        console.print(f"port {wanted} is taken; using another one")
    return port


class Tour:
    """Walks through the demo and remembers what went wrong."""

    def __init__(self, api: httpx.AsyncClient, edge: httpx.AsyncClient) -> None:
        self._api = api
        self._edge = edge
        self.wrong: list[str] = []

    async def write(self, method: str, path: str, body: Any, **headers: str) -> Any:
        """A write that is done when the fleet runs it."""
        response = await self._api.request(method, path, json=body, headers=headers)
        if response.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {response.text}")
        return response.json()

    async def add_cell(self, name: str, port: int, *, wait: bool = False) -> None:
        """Tell the topology of a cell."""
        body = {
            "name": name,
            "address": f"{name}.example.com",
            "endpoints": [f"127.0.0.1:{port}"],
            "session_prefix": name,
            "state": "active",
        }
        await self.write("POST", "/v1/cells" + ("?wait=fleet&timeout=10s" if wait else ""), body)

    async def claim(self, cell: str, keys: Sequence[str]) -> None:
        """Claim names for a cell."""
        claims = [dict(zip(("bucket", "value"), key.split(":", 1), strict=True)) for key in keys]
        await self.write(
            "POST", "/v1/claims", {"claims": [{**claim, "cell": cell} for claim in claims]}
        )

    async def load(self, ports: dict[str, int]) -> None:
        """The example topology: cells, claims, and GitLab's rules."""
        for name, port in ports.items():
            await self.add_cell(name, port)
        for cell, keys in CLAIMS.items():
            await self.claim(cell, keys)
        await self.write("PUT", "/v1/rulesets/gitlab", json.loads(RULESET.read_text()))
        await self.write(
            "POST", "/v1/rulesets/gitlab/activate?wait=fleet&timeout=20s", {"version": 1}
        )

    async def ask(self, asked: Asked) -> tuple[str, ...]:
        """One request through Envoy; a row of the table."""
        started = time.perf_counter()
        response = await self._edge.get(asked.path, headers=asked.headers)
        took_ms = (time.perf_counter() - started) * 1000
        seen = response.headers.get(CELL_HEADER, "-")
        cell = response.json().get("cell", "-") if response.status_code == 200 else "-"
        good = response.status_code == 200 and cell == seen and cell in (asked.cells or (cell,))
        if not good:
            self.wrong.append(
                f"{asked.what}: {response.status_code} from {cell}, not {asked.cells}"
            )
        rule = response.headers.get(RULE_HEADER, "-")
        tier = response.headers.get(TIER_HEADER, "-")
        wanted = " or ".join(asked.cells) or "any"
        mark = "ok" if good else "WRONG"
        return asked.what, asked.path, cell, wanted, rule, tier, f"{took_ms:.1f}", mark

    async def walk(self) -> None:
        """Ask everything and print the table."""
        rows = [await self.ask(asked) for asked in tour()]
        columns = ("REQUEST", "PATH", "CELL", "WANTED", "RULE", "TIER", "MS", "")
        console.print(table_of(columns, rows), soft_wrap=True)

    async def grow(self, port: int) -> None:
        """Add a fourth cell while requests run; none may fail."""
        asking = asyncio.create_task(self._background())
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        await self.add_cell("cell-4", port, wait=True)
        took_ms = (time.perf_counter() - started) * 1000
        await self.claim("cell-4", ("route:umbrella",))
        row = await self.ask(Asked("new cell", "/umbrella/lab", ("cell-4",)))
        failed = await asking
        console.print(
            f"\nA fourth cell was added while {BACKGROUND_REQUESTS} requests ran: the fleet had it "
            f"after {took_ms:.0f} ms, {failed} requests failed, "
            f"/umbrella/lab → {row[2]} ({row[-1]})"
        )
        if failed:
            self.wrong.append(f"{failed} requests failed while a cell was added")

    async def _background(self) -> int:
        failed = 0
        for number in range(BACKGROUND_REQUESTS):
            path = ("/explore", "/acme/site", "/users/bob", "/globex/web")[number % 4]
            response = await self._edge.get(path)
            failed += response.status_code != 200
        return failed

    async def explain(self) -> None:
        """Show why one request goes where it goes."""
        asked = tour()[9]
        body = {"url": asked.path, "headers": list(asked.headers.items())}
        answer = (await self._api.post("/v1/explain", json=body)).json()
        console.print(f"\ncellway explain {asked.path} -H 'cookie: …'")
        console.print(f"→ {answer['cell']} by rule {answer['rule']}: {answer['reason']}")
        rows = [(step["rule"], step["result"], step["why"][:90]) for step in answer["trace"]]
        console.print(table_of(("RULE", "RESULT", "WHY"), rows), soft_wrap=True)


async def demo(*, once: bool) -> int:
    """Run the demo; the exit status."""
    names = ("cell-1", "cell-2", "cell-3", "cell-4")
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cellway-demo-")))
        settings = Settings(
            database_url=f"sqlite:///{directory}/cellway.db",
            data_dir=directory,
            edge_port=choose_port(10000),
            envoy_admin_port=choose_port(9901),
            api_port=choose_port(8000),
            grpc_port=choose_port(18000),
            classifier_port=choose_port(18001),
        )
        ports = {name: free_port() for name in names}
        async with asyncio.TaskGroup() as starting:
            for name in names:
                starting.create_task(stack.enter_async_context(example_cell(name, ports[name])))
        plane, _, admin = await stack.enter_async_context(everything(settings))
        api = await stack.enter_async_context(_client(plane.ports.api))
        edge = await stack.enter_async_context(_client(settings.edge_port))
        walk = Tour(api, edge)
        await walk.load({name: ports[name] for name in names[:3]})
        await walk.walk()
        await walk.grow(ports["cell-4"])
        await walk.explain()
        console.print(f"\nedge http://127.0.0.1:{settings.edge_port}  ", end="")
        console.print(f"API http://127.0.0.1:{plane.ports.api}/docs  ", end="")
        console.print(f"Envoy admin http://127.0.0.1:{admin}")
        for line in walk.wrong:
            console.print(f"WRONG: {line}", style="red", markup=False)
        if not walk.wrong:
            console.print("Every request reached its right cell.")
        if not once:
            console.print("Ctrl-C stops everything.")
            await until_signal()
        return 1 if walk.wrong else 0


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)


def main() -> None:
    """``python -m control_plane.demo [--once]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the requests")
    logging.basicConfig(level=logging.WARNING)
    sys.exit(run_loop(demo(once=parser.parse_args().once)))


if __name__ == "__main__":
    main()
