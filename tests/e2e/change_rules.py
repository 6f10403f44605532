"""The rules that change, and requests each part of which names another tenant or cell.

If a rule looks at a part of the request that only an older revision of it looked at, the request
reaches another cell, and the test notices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Form:
    """What a rule looks at; a ``strict`` rule refuses an unknown key, others pass it on."""

    looks_at: str
    strict: bool = False


def _claim(**match: str) -> dict[str, Any]:
    return {"match": match, "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}


def _home(**match: str) -> dict[str, Any]:
    by_prefix = {"type": "SESSION_PREFIX", "value": "${c}"}
    return {"match": match, "action": "classify", "classify": by_prefix}


FORMS: Mapping[str, dict[str, Any]] = {
    "path 1": _claim(type="path", regexValue="^/(?<t>[^/]+)"),
    "path 2": _claim(type="path", regexValue="^/[^/]+/(?<t>[^/]+)"),
    "tenant header": _claim(type="header", name="^x-tenant$", regexValue="^(?<t>.+)$"),
    "other header": _claim(type="header", name="^x-other$", regexValue="^(?<t>.+)$"),
    "wide header": _claim(type="header", name="^x-t.{1,200}$", regexValue="^(?<t>.+)$"),
    "tenant cookie": _claim(type="cookie", name="^tenant$", regexValue="^(?<t>.+)$"),
    "query": _claim(type="query_string", regexValue="(?:^|&)tenant=(?<t>[^&]+)"),
    "host": _claim(type="host", regexValue="^(?<t>[^.]+)[.]"),
    "home cookie": _home(type="cookie", name="^home$", regexValue="^(?<c>[a-z0-9-]+)"),
    "home header": _home(type="header", name="^x-home$", regexValue="^(?<c>[a-z0-9-]+)$"),
    "fixed": {
        "match": {"type": "path", "regexValue": "^/(?:alpha|gamma)"},
        "action": "proxy",
        "proxy": {"cell": "cell-2"},
    },
    "weighted": {
        "match": {"type": "header", "name": "^x-any$", "regexValue": ""},
        "action": "proxy",
    },
}


MAY_BE_REFUSED = "wide header"
"""Envoy may refuse this form: in some places a regex may have at most 100 instructions."""


def ruleset(rules: Sequence[tuple[str, Form]]) -> dict[str, Any]:
    """Return a document of these rules and of one that takes all other requests."""
    items = []
    for rule_id, form in rules:
        rule = {"id": rule_id, **FORMS[form.looks_at]}
        rule["on_unknown"] = {"status": 404} if form.strict else "next"
        items.append(rule)
    rest = {"id": "rest", "action": "classify", "classify": {"type": "FIRST_CELL"}}
    return {"name": "changing", "rules": [*items, rest]}


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that is made again and again."""

    target: str
    host: str = "edge.example"
    headers: tuple[tuple[str, str], ...] = ()


def _with(**headers: str) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


PROBES = (
    Probe(
        "/alpha/beta/x?tenant=gamma",
        "delta.example",
        _with(
            x_tenant="gamma", x_other="beta", x_home="cell-5", cookie="tenant=delta; home=cell-6"
        ),
    ),
    Probe(
        "/beta/gamma/x?tenant=delta",
        "alpha.example",
        _with(x_tenant="delta", x_other="alpha", cookie="home=cell-2; tenant=alpha"),
    ),
    Probe(
        "/gamma/delta?tenant=alpha",
        "beta.example",
        _with(x_tenant="alpha", x_other="delta", x_any="1", cookie="tenant=beta"),
    ),
    Probe("/delta/nobody/x", "nobody.example", _with(x_home="cell-3", x_tenant="nobody")),
    Probe("/nobody/alpha", "gamma.example", _with(cookie="home=cell-4", x_other="gamma")),
    Probe("/", headers=_with(x_home="cell-1", cookie="home=cell-5")),
    Probe("/x", headers=_with(x_home="cell-6")),
)
