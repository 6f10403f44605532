"""The entries that the claims protocol appends to the change feed.

An entry is made before its revision is known: the statement that appends it takes the revision and
the time from the table ``revisions``. A begin of lease L that creates ``route:acme`` appends::

    lease  begin   L           {"cell_id": 1, "creates": 1, "destroys": 0}
    claim  create  route:acme  {"bucket": "route", "value": "acme", "cell_id": 1, "lease": L, ...}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.claims.update import Creation, Update
from control_plane.topology.storage import Statement, Transaction, for_rows
from control_plane.topology.values import Change, ClaimKey


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the change feed before its revision is known."""

    kind: str
    action: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def begun(lease: str, cell_id: int, update: Update) -> list[Entry]:
    """Describe a begin: the lease, then each claim that it creates, destroys or replaces."""
    counts = {"cell_id": cell_id, "creates": len(update.creates), "destroys": len(update.destroys)}
    entries = [Entry("lease", "begin", lease, None, counts)]
    for spec in update.creates:
        after = _described(spec, cell_id, lease)
        entries.append(Entry("claim", "create", f"{spec.bucket}:{spec.value}", None, after))
    locked = {"cell_id": cell_id, "lease": lease}
    replaced = {ClaimKey(spec.bucket, spec.value): spec for spec in update.replaced}
    for key in update.destroys:
        new = replaced.get(key)
        action = "destroy" if new is None else "replace"
        after = locked if new is None else _described(new, cell_id, lease)
        entries.append(Entry("claim", action, str(key), None, after))
    return entries


def settled(lease: str, cell_id: int, outcome: str, reason: str | None) -> Entry:
    """Describe a commit or a rollback."""
    after: dict[str, Any] = {"cell_id": cell_id, "state": outcome}
    if reason is not None:
        after["reason"] = reason[:MAX_REASON_CHARS]
    action = "commit" if outcome == "committed" else "rollback"
    return Entry("lease", action, lease, None, after)


def removed(row: tuple[Any, ...], lease: str) -> Entry:
    """Describe a claim that was deleted; ``row`` is its row from `remove_claims`."""
    bucket, value, cell_id, old, spelling = row
    before = {"bucket": bucket, "value": value, "cell_id": cell_id, "lease": lease, "uuid": old}
    if spelling is not None:
        before["spelling"] = spelling
    return Entry("claim", "delete", f"{bucket}:{value}", before, None)


def replaced(row: tuple[Any, ...], lease: str) -> Entry:
    """Describe a claim that was replaced; ``row`` is its row from `apply_replacements`."""
    bucket, value, cell_id, new = row
    after = {"cell_id": cell_id, "lease": lease, "uuid": new}
    return Entry("claim", "update", f"{bucket}:{value}", None, after)


def append(entries: Sequence[Entry], actor: str, first: int = 0) -> list[Statement]:
    """Return statements that append entries to the change feed, with ordinals from ``first``."""
    rows = [
        (
            ordinal,
            entry.kind,
            entry.action,
            entry.key,
            None if entry.before is None else json.dumps(entry.before),
            None if entry.after is None else json.dumps(entry.after),
            actor,
        )
        for ordinal, entry in enumerate(entries, first)
    ]
    return for_rows(_append, rows)


def _append(rows: str) -> str:
    return f"""
INSERT INTO changes (ordinal, kind, action, key, before, after, actor, revision, at)
SELECT v.*, r.revision, r.at
FROM (VALUES {rows}) AS v CROSS JOIN revisions r"""  # noqa: S608 - no text from outside


def as_changes(entries: Sequence[Entry], tx: Transaction) -> tuple[Change, ...]:
    """Return the entries as the change feed has them once their revision is known."""
    return tuple(
        Change(tx.revision, e.kind, e.action, e.key, e.before, e.after, tx.actor, tx.at)
        for e in entries
    )


def _described(spec: Creation, cell_id: int, lease: str) -> dict[str, Any]:
    spelled = {} if spec.spelling is None else {"spelling": spec.spelling}
    return spelled | {
        "bucket": spec.bucket,
        "value": spec.value,
        "cell_id": cell_id,
        "lease": lease,
        "subject_type": spec.subject_type,
        "subject_id": spec.subject_id,
        "source_type": spec.source_type,
        "source_id": spec.source_id.hex(),
    }
