"""The demo's example topology, and the requests that are asked of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console

from control_plane.cli.output import table_of
from control_plane.names import CELL_HEADER, RULE_HEADER, TIER_HEADER
from control_plane.routing.tokens import encode_routable_token
from control_plane.shipped import RULESETS

RULESET = RULESETS / "gitlab.json"
CLAIMS = {
    "cell-1": ("route:gitlab-org", "route:acme", "username:alice", "project_id:278964",
               "organization_path:default"),
    "cell-2": ("route:globex", "route:john.doe", "username:bob", "namespace_id:4242",
               "email:bob@globex.example"),
    "cell-3": ("route:initech", "redirect_route:old-initech", "username:carol",
               "organization_path:initech", "organization_id:77"),
}  # fmt: skip
"""What each cell owns, as ``bucket:value``."""
NEW_CELL = "cell-4"
"""Is added while requests run."""
BACKGROUND_REQUESTS = 400
BACKGROUND_PATHS = ("/explore", "/acme/site", "/users/bob", "/globex/web")


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the tour, and the cells that may answer it (empty: any cell)."""

    what: str
    path: str
    cells: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


_SESSION = {"cookie": "_gitlab_session=cell-3-5f2b9c"}
_EXPLAINED = Question("project page, other session", "/acme/site", ("cell-1",), _SESSION)


def questions() -> Sequence[Question]:
    """Return requests of every kind."""
    token = encode_routable_token("glpat-", {"c": 2, "u": 7}, secrets.token_bytes(16))
    bearer = {"authorization": f"Bearer {token}"}
    return (
        Question("anonymous", "/explore"),
        Question("anonymous, nobody's name", "/no-such-group/thing"),
        Question("session", "/dashboard/projects", ("cell-3",), _SESSION),
        Question("session of no cell", "/dashboard", (), {"cookie": "_gitlab_session=cell-99-ff"}),
        Question("forced cell", "/globex/web", ("cell-1",), {"cookie": "force-cell=cell-1"}),
        Question("token", "/api/v4/user", ("cell-2",), {"private-token": token}),
        Question("token, bearer", "/api/v4/jobs", ("cell-2",), bearer),
        Question("token, malformed", "/api/v4/user", (), {"private-token": token[:-1] + "!"}),
        Question("project page", "/gitlab-org/gitlab/-/issues", ("cell-1",)),
        _EXPLAINED,
        Question("name with a dot", "/john.doe/dotfiles", ("cell-2",)),
        Question("format suffix", "/globex.json", ("cell-2",)),
        Question("renamed group", "/old-initech/app", ("cell-3",)),
        Question("group page", "/groups/initech/-/issues", ("cell-3",)),
        Question("user page", "/users/bob/activity", ("cell-2",)),
        Question("organization", "/o/initech/projects", ("cell-3",)),
        Question("API by id", "/api/v4/projects/278964/issues", ("cell-1",)),
        Question("API by path", "/api/v4/projects/globex%2Fweb/pipelines", ("cell-2",)),
        Question("a client's own header", "/acme/site", ("cell-1",), {CELL_HEADER: "cell-2"}),
    )


class Tour:
    """Loads the example topology, asks the questions, and remembers what went wrong."""

    def __init__(self, api: httpx.AsyncClient, edge: httpx.AsyncClient, console: Console) -> None:
        self._api = api
        self._edge = edge
        self._console = console
        self.wrong: list[str] = []
        """A line for each request that did not reach its right cell."""

    async def load(self, ports: dict[str, int]) -> None:
        """Create the example topology: cells at these ports, their claims, and GitLab's rules."""
        for name, port in ports.items():
            await self._add_cell(name, port)
        for cell, keys in CLAIMS.items():
            await self._claim(cell, keys)
        await self._write("PUT", "/v1/rulesets/gitlab", json.loads(RULESET.read_text()))
        await self._write(
            "POST", "/v1/rulesets/gitlab/activate?wait=fleet&timeout=20s", {"version": 1}
        )

    async def walk(self) -> None:
        """Ask every question, and print a table of the answers."""
        rows = [await self.ask(question) for question in questions()]
        columns = ("REQUEST", "PATH", "CELL", "WANTED", "RULE", "TIER", "MS", "")
        self._console.print(table_of(columns, rows), soft_wrap=True)

    async def ask(self, question: Question) -> tuple[str, ...]:
        """Send a request through Envoy; return the row of the table."""
        started = time.perf_counter()
        response = await self._edge.get(question.path, headers=question.headers)
        took_ms = (time.perf_counter() - started) * 1000
        routed = response.headers.get(CELL_HEADER, "-")
        cell = response.json().get("cell", "-") if response.status_code == 200 else "-"
        right = response.status_code == 200 and cell == routed
        right = right and cell in (question.cells or (cell,))
        if not right:
            self.wrong.append(
                f"{question.what}: {response.status_code} from {cell}, not {question.cells}"
            )
        rule = response.headers.get(RULE_HEADER, "-")
        tier = response.headers.get(TIER_HEADER, "-")
        wanted = " or ".join(question.cells) or "any"
        mark = "ok" if right else "WRONG"
        return question.what, question.path, cell, wanted, rule, tier, f"{took_ms:.1f}", mark

    async def grow(self, port: int) -> None:
        """Add a cell while requests run, of which none may fail."""
        background = asyncio.create_task(self._failures_of_background())
        try:
            await asyncio.sleep(0.2)
            started = time.perf_counter()
            await self._add_cell(NEW_CELL, port, wait=True)
            took_ms = (time.perf_counter() - started) * 1000
            await self._claim(NEW_CELL, ("route:umbrella",))
            row = await self.ask(Question("new cell", "/umbrella/lab", (NEW_CELL,)))
            failures = await background
        finally:
            background.cancel()
        self._console.print(
            f"\nA fourth cell was added while {BACKGROUND_REQUESTS} requests ran: the fleet had it "
            f"after {took_ms:.0f} ms, {failures} requests failed, "
            f"/umbrella/lab → {row[2]} ({row[-1]})"
        )
        if failures:
            self.wrong.append(f"{failures} requests failed while a cell was added")

    async def explain(self) -> None:
        """Show why one request goes where it goes."""
        path, headers = _EXPLAINED.path, list(_EXPLAINED.headers.items())
        response = await self._api.post("/v1/explain", json={"url": path, "headers": headers})
        answer = response.json()
        self._console.print(f"\ncellway explain {path} -H 'cookie: …'")
        self._console.print(f"→ {answer['cell']} by rule {answer['rule']}: {answer['reason']}")
        rows = [(step["rule"], step["result"], step["why"][:90]) for step in answer["trace"]]
        self._console.print(table_of(("RULE", "RESULT", "WHY"), rows), soft_wrap=True)

    async def _add_cell(self, name: str, port: int, *, wait: bool = False) -> None:
        body = {
            "name": name,
            "address": f"{name}.example.com",
            "endpoints": [f"127.0.0.1:{port}"],
            "session_prefix": name,
            "state": "active",
        }
        await self._write("POST", "/v1/cells" + ("?wait=fleet&timeout=10s" if wait else ""), body)

    async def _claim(self, cell: str, keys: Sequence[str]) -> None:
        """Claim names, given as ``bucket:value``, for a cell."""
        pairs = [key.split(":", 1) for key in keys]
        claims = [{"bucket": bucket, "value": value, "cell": cell} for bucket, value in pairs]
        await self._write("POST", "/v1/claims", {"claims": claims})

    async def _write(self, method: str, path: str, body: Any) -> None:
        response = await self._api.request(method, path, json=body)
        if response.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {response.text}")

    async def _failures_of_background(self) -> int:
        """Send `BACKGROUND_REQUESTS`, one after another; return how many failed."""
        failures = 0
        for number in range(BACKGROUND_REQUESTS):
            path = BACKGROUND_PATHS[number % len(BACKGROUND_PATHS)]
            failures += (await self._edge.get(path)).status_code != 200
        return failures
