"""Reads ``action``, ``classify`` and ``proxy``: how a rule gets to a cell."""

from __future__ import annotations

import re
from typing import Any

from control_plane.names import BUCKET
from control_plane.routing.rules.fields import MAX_PARTS, check_fields, read_template
from control_plane.routing.rules.policies import read_policy
from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Proxy, Template, UseWeighted

_ADDRESS = re.compile(r"[A-Za-z0-9.\[\]:_-]{1,260}\Z")
_CLASSIFY_FIELDS = ("type", "value", "claims", "claim", "bucket")
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def read_action(raw: dict[str, Any], problems: Problems) -> Classify | Proxy | None:
    """Return the action of a rule; None if it can't be read, and the reason is reported."""
    action = raw.get("action")
    if action == "classify":
        return _classify(raw.get("classify"), problems)
    if action == "proxy":
        return _proxy(raw.get("proxy"), problems)
    problems.add("action", f"{action!r} is no action", "use classify or proxy")
    return None


def _classify(raw: Any, problems: Problems) -> Classify | None:
    if not isinstance(raw, dict):
        problems.add("classify", "missing", 'write {"type": …, "value": …} or {"claims": […]}')
        return None
    check_fields(raw, _CLASSIFY_FIELDS, problems, "classify.")
    if "claims" in raw or "claim" in raw:
        return _claims(raw.get("claims", raw.get("claim")), problems)
    kind = raw.get("type")
    if kind not in list(ClassifyType):
        hint = f"use one of {', '.join(ClassifyType)}"
        problems.add("classify.type", f"{kind!r} is no way to classify", hint)
        return None
    if kind == ClassifyType.FIRST_CELL:
        return Classify(ClassifyType.FIRST_CELL)
    if kind == ClassifyType.CLAIM:
        return _claims([{str(raw.get("bucket")): raw.get("value")}], problems)
    value = read_template(raw.get("value"), "classify.value", problems)
    return Classify(ClassifyType(kind), value) if value else None


def _claims(raw: Any, problems: Problems) -> Classify | None:
    items = raw if isinstance(raw, list) else [raw]
    if not items or len(items) > MAX_PARTS:
        problems.add("classify.claims", f"needs 1 to {MAX_PARTS} claims", "name at least one claim")
        return None
    claims = [_claim(item, problems) for item in items]
    chain = tuple(claim for claim in claims if claim is not None)
    return Classify(ClassifyType.CLAIM, None, chain) if chain else None


def _claim(raw: Any, problems: Problems) -> tuple[str, Template] | None:
    if not isinstance(raw, dict) or len(raw) != 1:
        hint = 'write {"route": "${route}"}'
        problems.add("classify.claims", "each claim is an object with one key", hint)
        return None
    ((bucket, value),) = raw.items()
    # GitLab's HTTP Router writes redirectRoute for redirect_route.
    bucket = _CAPITAL.sub(lambda capital: "_" + capital[1].lower(), bucket)
    if not BUCKET.match(bucket):
        hint = "use a bucket such as route or username"
        problems.add("classify.claims", f"{bucket!r} is no bucket", hint)
        return None
    template = read_template(value, f"classify.claims.{bucket}", problems)
    return None if template is None else (bucket, template)


def _proxy(raw: Any, problems: Problems) -> Proxy | None:
    if raw is None:
        return Proxy()
    if not isinstance(raw, dict) or len(raw) > 1:
        hint = 'write {"cell": …}, {"address": …} or {"weighted": …}'
        problems.add("proxy", "must name one of cell, address, weighted", hint)
        return None
    check_fields(raw, ("cell", "address", "weighted"), problems, "proxy.")
    for field in ("cell", "address"):
        if field in raw:
            value = raw[field]
            if not isinstance(value, str) or not _ADDRESS.match(value):
                hint = "a fixed name or host[:port]; no ${…}, path or scheme"
                problems.add(f"proxy.{field}", f"{value!r} is not valid", hint)
                return None
            return Proxy(cell=value) if field == "cell" else Proxy(address=value)
    spread = {"weighted": raw.get("weighted", True)}
    policy = read_policy(spread, "proxy.weighted", problems)
    return Proxy(weights=policy.weights) if isinstance(policy, UseWeighted) else None
