"""Explains how a request would be decided: admission, decision and trace, as plain JSON.

The REST API, ``cellway rules test`` and ``cellway explain`` show these documents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import Owners, decide
from control_plane.routing.model import Cells, Decision, Outcome, Status, ToCell
from control_plane.routing.rules.ruleset import Ruleset

_URL = re.compile(
    r"(?:https?://(?P<authority>[^/?#]+))?(?P<target>[/?*].*)?", re.DOTALL | re.IGNORECASE
)


class InvalidURL(ValueError):
    """The text is neither http(s)://… nor a path."""


def explain(
    ruleset: Ruleset,
    cells: Cells,
    owners: Owners,
    *,
    url: str,
    method: str,
    headers: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Return what the edge and then the ruleset make of a request, as `decision_document` has it.

    Raises:
        InvalidURL: ``url`` is no URL.
    """
    named, target = split_url(url)
    fields = [(name, value.encode("utf-8", "replace")) for name, value in headers]
    # As a client sends it: Host headers that are given replace the URL's, and all of them go out.
    host_given = any(name.lower() == "host" for name, _ in fields)
    authority = None if host_given else named.encode()
    admitted = admit(method.upper(), target.encode(), authority, fields)
    if isinstance(admitted, Refused):
        return decision_document(refused_decision(admitted))
    return decision_document(decide(ruleset, admitted, cells, owners))


def split_url(url: str) -> tuple[str, str]:
    """Return authority ("localhost" if there is none) and target of an absolute URL or a path.

    Raises:
        InvalidURL: ``url`` is neither http(s)://… nor a path.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidURL(f"{url[:200]!r} is no URL; write https://host/path or /path")
    target = match["target"] or "/"
    return match["authority"] or "localhost", f"/{target}" if target[0] == "?" else target


def refused_decision(refused: Refused) -> Decision:
    """Return the decision for a request that the edge itself refuses: no rule has seen it."""
    return Decision(Status(refused.status), None, None, f"the edge refuses it: {refused.reason}")


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain JSON.

    Returns:
        ``cell`` (a name or None), ``outcome`` (``{"cell": name}``, ``{"status": code}`` or
        ``{"weighted": {name: weight}}``), ``rule``, ``key``, ``matched_claim`` (bucket and value),
        ``reason``, and ``trace``, a list of ``{"rule", "result", "why"}``.
    """
    return {
        "cell": decision.cell,
        "outcome": outcome_document(decision.outcome),
        "rule": decision.rule,
        "key": decision.key,
        "matched_claim": list(decision.matched_claim) if decision.matched_claim else None,
        "reason": decision.reason,
        "trace": [
            {"rule": step.rule, "result": step.result, "why": step.why} for step in decision.trace
        ],
    }


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain JSON: one of ``cell``, ``status`` and ``weighted``."""
    if isinstance(outcome, ToCell):
        return {"cell": outcome.cell}
    if isinstance(outcome, Status):
        return {"status": outcome.code}
    return {"weighted": dict(outcome.choices)}
