"""Says a decision in one line of mitmproxy's log.

    GET gitlab.example.com/users/bob -> cell-3 at 127.0.0.1:9003 by user: username:bob is claimed by
    cell-3 (2 look-ups, 3.1 ms)

A line holds no secret: the query is left out, and so is a key that a rule takes from a header, a
cookie or the query, as tokens stand there. Such a key shows by its bucket and length alone, for
example ``token:…(26 characters)``, unless it names a cell.
"""

from __future__ import annotations

from addons.remote import Edge
from control_plane.foreign_text import visible
from control_plane.routing.model import Cells, Decision
from control_plane.routing.outcomes import keyed_cell
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Rule, Subject

MAX_TARGET_CHARS = 200
MAX_KEY_CHARS = 60
MAX_REASON_CHARS = 400
_OPEN = frozenset({Subject.PATH, Subject.HOST, Subject.METHOD})
"""What stands in a line anyway."""


def shown_target(method: str, authority: bytes, path: bytes) -> str:
    """Return method, host and path of a request; a query shows as ``?…``."""
    before, mark, _ = path.partition(b"?")
    text = f"{method} {(authority + before).decode('utf-8', 'surrogateescape')}"
    return visible(_cut(text, MAX_TARGET_CHARS) + ("?…" if mark else ""))


def shown_reason(decision: Decision, edge: Edge | None) -> str:
    """Return why a request was decided so, with its key shortened or hidden.

    Args:
        edge: What it was decided by; None if no rule has seen the request.
    """
    reason, key = decision.reason, decision.key
    if key is not None and edge is not None:
        rule = next((rule for rule in edge.ruleset.rules if rule.id == decision.rule), None)
        is_open = rule is None or _may_show(rule, key, edge.cells)
        reason = reason.replace(key, _cut(key, MAX_KEY_CHARS) if is_open else _masked(key))
    return visible(_cut(reason, MAX_REASON_CHARS))


def _may_show(rule: Rule, key: str, cells: Cells) -> bool:
    if all(match.subject in _OPEN for match in rule.matches):
        return True
    action = rule.action
    if not isinstance(action, Classify):
        return True
    return action.type is not ClassifyType.CLAIM and (
        action.type is ClassifyType.FIRST_CELL
        or keyed_cell(action.type, key.partition(":")[2], cells) is not None
    )


def _masked(key: str) -> str:
    bucket, _, value = key.partition(":")
    return f"{bucket}:…({len(value)} characters)"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
