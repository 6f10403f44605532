"""The Lua scripts of the edge: those in `envoy/` with their settings written in front.

Envoy gives a script no parameters of its own. So each begins with a line for each setting, e.g.

    local CLUSTER = "cellway:classifier"
    local TIMEOUT_MS = 250

None holds anything of a ruleset: see `route_names`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    CLASSIFIER_CLUSTER,
    HOST_HEADER,
    MISDIRECTED_HEADER,
    RULE_HEADER,
    STALE_HEADER,
    TIER_HEADER,
)
from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.outcomes import RETRY_AFTER_S
from control_plane.shipped import ENVOY_SCRIPTS

_EDGE_CACHE = (
    "edge_cache/bounded_cache.lua",
    "edge_cache/route_names.lua",
    "edge_cache/epochs.lua",
    "edge_cache/questions.lua",
    "edge_cache.lua",
)
"""The parts of the edge cache's script, each after those that it uses."""
_UNDONE = (
    MISDIRECTED_HEADER,
    CELL_HEADER,
    RULE_HEADER,
    TIER_HEADER,
    HOST_HEADER,
    STALE_HEADER,
    AUTHZ_FAILED_HEADER,
    "transfer-encoding",
)
"""What the first try may have left on a request that is asked for again, which has no body then."""

Value = str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]


@cache
def _script(name: str) -> str:
    return (ENVOY_SCRIPTS / name).read_text()


def compile_script(policy: TrafficPolicy) -> str:
    """Return the script of the edge cache."""
    constants: dict[str, Value] = {
        "UNDONE": _UNDONE,
        "UNSENT": dict.fromkeys(sorted(UNSEEN_BY_RULES), True),
        "CLUSTER": CLASSIFIER_CLUSTER,
        "TIMEOUT_MS": round(policy.classifier_timeout_s * 1000),
        "SHOW_TIER": bool(policy.debug_networks),
        "KEEPS": policy.edge_cache_entries > 0,
        "MAX_POSITIVE": policy.edge_cache_entries,
        "MAX_MINTABLE": max(2, policy.edge_cache_entries // 2),
        "MAX_NEGATIVE": max(2, policy.edge_cache_entries // 10),
        "STALE_MS": round(policy.edge_cache_stale_s * 1000),
    }
    return _locals(constants) + "".join(_script(part) for part in _EDGE_CACHE)


def compile_misdirected_script() -> str:
    """Return the script that makes a 503 of a 421 that is not asked for again."""
    return _locals({"RETRY_AFTER": str(RETRY_AFTER_S)}) + _script("misdirected.lua")


def compile_empty_421_script() -> str:
    """Return the script that gives a 421 a body."""
    body = '{"status": 503, "title": "cellway: the cell says that it is not the owner"}\n'
    return _locals({"BODY": body}) + _script("empty_421.lua")


def _locals(constants: Mapping[str, Value]) -> str:
    return "".join(f"local {name} = {to_lua(value)}\n" for name, value in constants.items())


def to_lua(value: Value) -> str:
    """Return a Lua expression for a value; keys of a mapping without a value are left out."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_char(byte) for byte in value.encode()) + '"'
    if isinstance(value, Mapping):
        items = [f"[{to_lua(k)}] = {to_lua(v)}" for k, v in value.items() if v is not None]
        return "{" + ", ".join(items) + "}"
    return "{" + ", ".join(to_lua(one) for one in value) + "}"


def _char(byte: int) -> str:
    char = chr(byte)
    return char if 0x20 <= byte < 0x7F and char not in '"\\' else f"\\{byte:03d}"
