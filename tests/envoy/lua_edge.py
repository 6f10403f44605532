"""An Envoy worker for the edge's script, in the interpreter that Envoy has: LuaJIT."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lupa.luajit21 import LuaRuntime

from control_plane.compiler.edge_cache import compile_script
from control_plane.compiler.model import TrafficPolicy
from control_plane.compiler.route_names import name_routes
from control_plane.routing.rules.parse import parse

RULESET = parse(
    json.dumps(
        [
            {"id": "tenant", "match": {"type": "path", "regexValue": "^/t/(?<t>[^/]+)(?:/|$)"},
             "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}},
            {"id": "token", "match": {"type": "header", "name": "^x-token$", "regexValue": "^(?<t>.+)$"},
             "action": "classify", "classify": {"claims": [{"token": "${t}"}]}},
            {"id": "any", "action": "proxy"},
        ]
    )
)  # fmt: skip
NAMES = name_routes(RULESET, second_try=True)
DIGEST = RULESET.digest
HARNESS = """
local headers_of = setmetatable({}, { __mode = "k" })
local plain_pairs = pairs

-- Envoy's header map, which is no table, can be gone through.
function pairs(what)
  local host = headers_of[what]
  if not host then
    return plain_pairs(what)
  end
  local at = 0
  return function()
    at = at + 1
    return host.name(at), host.value(at)
  end
end

function run(host)
  local headers = {}
  headers_of[headers] = host
  function headers.get(_, name) return host.header(name) end
  function headers.add(_, name, value) host.add(name, value) end
  function headers.replace(_, name, value) host.replace(name, value) end
  function headers.remove(_, name) host.remove(name) end
  local state = { get = function(_, name) return host.state(name) end }
  local info = {
    routeName = function() return host.route() end,
    filterState = function() return state end,
  }
  local handle = {
    streamInfo = function() return info end,
    headers = function() return headers end,
    timestamp = function() return host.now() end,
    clearRouteCache = function() host.clear() end,
    httpCall = function(_, cluster, question, body, options)
      return host.call(cluster, question, options), body
    end,
  }
  envoy_on_request(handle)
end
"""


@dataclass
class Answer:
    cell: str
    revision: int
    shards: tuple[int, ...] = (1,)
    rule: str = "tenant"
    ttl: int = 60_000

    def headers(self) -> dict[str, str]:
        shards = ",".join(map(str, self.shards)) or "-"
        kept = f" {self.revision} {self.ttl} {shards}" if self.revision else ""
        return {":status": "204", "x-cellway-answer": f"{self.cell} {self.rule}{kept}"}


@dataclass
class Edge:
    """One Envoy worker."""

    entries: int = 1000
    epochs: str = "1;"
    now: float = 1_000_000.0
    asked: list[dict[str, str]] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    classifier: Callable[[Mapping[str, str]], Answer | None] = lambda _: None
    request: dict[str, str] = field(default_factory=dict)
    """The newest, as it is after the script."""

    def __post_init__(self) -> None:
        policy = TrafficPolicy(edge_cache_entries=self.entries, debug_networks=("127.0.0.0/8",))
        self.lua = LuaRuntime(unpack_returned_tuples=True)
        self.lua.execute(compile_script(policy) + HARNESS)

    def get(
        self, path: str, route: str = NAMES.by_rule["tenant"], **headers: str
    ) -> tuple[dict[str, str], bool]:
        """The headers that were added, and whether the route is to be looked up again."""
        given = {":path": path, ":authority": "a", ":method": "GET"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        added: dict[str, str] = {}
        self.request = given
        cleared: list[bool] = []
        host = self.lua.table_from(
            {
                "header": given.get,
                "name": lambda at: next(iter([*given][at - 1 : at]), None),
                "value": lambda at: next(iter([*given.values()][at - 1 : at]), None),
                "add": added.__setitem__,
                "replace": given.__setitem__,
                "remove": lambda name: given.pop(name, None),
                "state": lambda name: self.epochs if name == "cellway.epochs" else None,
                "route": lambda: route,
                "now": lambda: self.now,
                "clear": lambda: cleared.append(True),
                "call": self._call,
            }
        )
        self.lua.globals().run(host)
        return added, bool(cleared)

    def _call(self, cluster: str, question: Any, options: Any) -> Any:
        assert cluster == "cellway:classifier"
        asked = dict(question)
        if "x-cellway-edge-counts" in asked:
            self.reports.append(asked.pop("x-cellway-edge-counts"))
        if options["asynchronous"]:
            return None
        self.asked.append(asked)
        answer = self.classifier(asked)
        return self.lua.table_from(answer.headers() if answer else {":status": "503"})

    def cell(self, path: str, **headers: str) -> str | None:
        return self.get(path, **headers)[0].get("x-cellway-cell")


def answering(answer: Answer | None) -> Callable[[Mapping[str, str]], Answer | None]:
    return lambda _: answer
