"""The certificate of a move: what is known of it, and what is not. Pure.

It says from which moment on no request of the tenant can have reached the old cell, and rests that
on three things: the revision that gave the claims to the target, the acknowledgement of that
revision by every Envoy that was connected, and what cells and edges have reported since. What none
of them tells is listed as not known, rather than passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from control_plane.topology.values.move import Move, MoveState
from control_plane.topology.values.move_gates import DRAINED, drained_of


def certificate(move: Move) -> dict[str, Any]:
    """Return the certificate of a move as of now, in plain JSON types."""
    return {
        "move": move.number,
        "state": str(move.state),
        "source": move.plan.source,
        "target": move.plan.target,
        "selection": dict(move.plan.selection),
        "claims": move.claims,
        "reason": move.plan.reason,
        "frozen": _acknowledged(move, "held_revision", "in_force_at", "in-force"),
        "drained": DRAINED[drained_of(move)],
        "switched": _acknowledged(move, "switch_revision", "settled_at", "watching"),
        "refused": _sum_of_newest(move.reports, "refused"),
        "misdirected": _sum_of_newest(move.reports, "misdirected"),
        "old_cell": _old_cell(move),
        "timeline": [dict(event) for event in move.events],
        "reports": [dict(report) for report in move.reports],
        "not_known": list(_not_known(move)),
    }


def _acknowledged(move: Move, revision: str, at: str, step: str) -> dict[str, Any]:
    events = [event for event in move.events if event["step"] == step]
    seen = events[-1] if events else {}
    return {
        "revision": move.facts.get(revision),
        "acknowledged_at": move.facts.get(at),
        "connected": seen.get("connected"),
        "nodes": seen.get("nodes", []),
    }


def _since_switch(move: Move) -> list[Mapping[str, Any]]:
    settled = move.facts.get("settled_at")
    if settled is None:
        return []
    return [one for one in move.reports if one["at"] >= settled]


def _old_cell(move: Move) -> dict[str, Any]:
    """Return whether requests of the tenant reached the old cell after the switch was settled."""
    settled = move.facts.get("settled_at")
    told = [one for one in _since_switch(move) if one["old_cell_requests"] is not None]
    if settled is None or not told:
        return {"requests": "unknown", "after": settled, "until": None, "by": []}
    count = sum(_newest(told, "old_cell_requests").values())
    return {
        "requests": "none" if count == 0 else str(count),
        "after": settled,
        "until": told[-1]["at"],
        "by": sorted({one["reporter"] for one in told}),
    }


def _newest(reports: Sequence[Mapping[str, Any]], count: str) -> dict[str, int]:
    """Return the newest count of each reporter; each report counts from the beginning."""
    told = {one["reporter"]: one[count] for one in reports if one[count] is not None}
    return dict(sorted(told.items()))


def _sum_of_newest(reports: Sequence[Mapping[str, Any]], count: str) -> int | None:
    newest = _newest(reports, count)
    return sum(newest.values()) if newest else None


def _not_known(move: Move) -> Iterator[str]:
    switched = _acknowledged(move, "switch_revision", "settled_at", "watching")
    if switched["revision"] is None:
        yield "the move has not switched: nothing is certified"
        return
    if switched["acknowledged_at"] is None:
        yield "whether all Envoys run the switch: nobody has waited for them"
    elif not switched["connected"]:
        yield "what Envoys do: none was connected when the switch was acknowledged"
    else:
        yield "what Envoys run that were not connected when the switch was acknowledged"
    if move.plan.one_way:
        yield "whether the source could have taken the claims back: the move was one-way"
    if drained_of(move) is None:
        yield "whether requests from before the freeze were still under way: no cell reported twice"
    if _old_cell(move)["requests"] == "unknown":
        yield f"whether requests reached {move.plan.source} after the switch: nobody has reported"
    for count, words in (("refused", "refused while frozen"), ("misdirected", "answered with 421")):
        if _sum_of_newest(move.reports, count) is None:
            yield f"how many requests were {words}: nobody has reported"
    yield (
        "requests that no rule finds by a claim of the move (a session's or a cell's own address):"
        " they follow their session or address"
    )


def as_markdown(document: Mapping[str, Any]) -> str:
    """Return a certificate as a page."""
    lines = [
        f"# Move {document['move']}: {document['source']} to {document['target']}",
        "",
        f"{document['claims']} claims; {document['state']}. {_text(document['reason'])}",
        "",
        *_sentences(document),
        "",
        "## Timeline",
        "",
        "| time | step | revision | by | why |",
        "|---|---|---|---|---|",
    ]
    for event in document["timeline"]:
        cells = (event["at"], event["step"], event["revision"], event["actor"], event.get("why"))
        lines.append("| " + " | ".join(_text(cell) for cell in cells) + " |")
    for title, part in (("The freeze", "frozen"), ("The switch", "switched")):
        lines += ["", f"## {title} at the Envoys", ""]
        lines += [
            f"- {_text(node['id'])}: revision {node['acked_revision']}, heard at"
            f" {node['last_message_at']}"
            for node in document[part]["nodes"]
        ] or ["No Envoy is on record."]
    lines += ["", "## What is not known", ""]
    lines += [f"- {_text(line)}" for line in document["not_known"]] or ["Nothing."]
    return "\n".join(lines) + "\n"


def _sentences(document: Mapping[str, Any]) -> Iterator[str]:
    old, source = document["old_cell"], document["source"]
    if document["state"] == MoveState.ROLLED_BACK:
        yield f"- The move was rolled back: {source} has the claims."
    elif old["requests"] == "none":
        by = ", ".join(_text(one) for one in old["by"])
        yield (
            f"- No request of the tenant reached {source} from {old['after']} to {old['until']},"
            f" as {by} reported."
        )
    elif old["requests"] == "unknown":
        yield f"- Whether requests of the tenant reached {source} after the switch is not known."
    else:
        yield f"- {old['requests']} requests of the tenant reached {source} after {old['after']}."
    for part, words in (("frozen", "freeze"), ("switched", "switch")):
        one = document[part]
        at = one["acknowledged_at"] or "a time that is not known"
        yield (
            f"- The {words} is revision {one['revision']}, acknowledged by {one['connected']}"
            f" connected Envoys at {at}."
        )
    yield f"- Requests from before the freeze had ended: {document['drained']}."


def _text(value: object) -> str:
    """Return a text that can't break a table or make a link of its own."""
    shown = "" if value is None else str(value)
    kept = "".join(one if one.isprintable() else " " for one in shown)
    for mark in "\\`*_[]<>|":
        kept = kept.replace(mark, "\\" + mark)
    return kept
