"""Which rules Envoy can answer by itself, and with which conditions and extractions.

A condition for a native rule must hold exactly when the evaluator says that the rule matches. For
a rule left to the classifier it may also hold when the rule does not: the classifier evaluates
the whole ruleset, so asking once too often is slow and never wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from control_plane.compiler.regex_rewrite import anchored, without
from control_plane.routing.model import Cell, Cells
from control_plane.routing.ruleset import (
    Classify,
    ClassifyType,
    Match,
    Next,
    Proxy,
    Rule,
    Subject,
)

SENTINEL = "\x01"
"""Starts every extracted key. No header can hold it, so a value that was not extracted but passed
through unchanged is never taken for one."""
_ANY = r"\C*"
_HOST = "host"


@dataclass(frozen=True, slots=True)
class Condition:
    """One of these headers fully matches ``regex``; with ``invert``, none of them does."""

    headers: tuple[str, ...]
    regex: str
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Extraction:
    """Rewrite ``header`` by ``pattern`` → ``substitution`` and look the result up by cell."""

    header: str
    pattern: str
    substitution: str


@dataclass(frozen=True, slots=True)
class NativeRule:
    """A rule that Envoy answers: by a fixed cell, by weight, or by an extracted key."""

    rule: Rule
    conditions: tuple[Condition, ...]
    extraction: Extraction | None = None


@dataclass(frozen=True, slots=True)
class AskClassifier:
    """A rule that needs the classifier; the conditions hold at least whenever it matches."""

    rule: Rule
    conditions: tuple[Condition, ...]


Exact = tuple[Condition | None, ...]


def exact_conditions(rule: Rule) -> Exact:
    """For each match of a rule the condition that holds exactly when it does; None: there is none.

    Depends on the rule alone, so it is worth keeping while cells change.
    """
    return tuple(_exact(match) for match in rule.matches)


def analyse(rule: Rule, exact: Exact, cells: Cells) -> NativeRule | AskClassifier:
    """Decide the tier of a rule, given its `exact_conditions`."""
    if not rule.transforms and not rule.required and None not in exact:
        conditions = tuple(condition for condition in exact if condition is not None)
        native = _native(rule, conditions, cells)
        if native is not None:
            return native
    loose = tuple(
        found
        for match, condition in zip(rule.matches, exact, strict=True)
        if (found := condition or _necessary(match)) is not None
    )
    return AskClassifier(rule, loose)


def _native(rule: Rule, conditions: tuple[Condition, ...], cells: Cells) -> NativeRule | None:
    action = rule.action
    if isinstance(action, Proxy) or action.type is ClassifyType.FIRST_CELL:
        return NativeRule(rule, conditions)
    if action.type is ClassifyType.CLAIM or action.value is None:
        return None
    if not action.value.references:
        return NativeRule(rule, conditions)
    if len(action.value.references) > 1 or _next_only_when_down(rule, cells):
        return None
    extraction = _extraction(rule, action)
    if extraction is None or not _empty_is_unknown(action, cells):
        return None
    index, found = extraction
    others = tuple(c for at, c in enumerate(conditions) if at != index)
    return NativeRule(rule, others, found)


def _next_only_when_down(rule: Rule, cells: Cells) -> bool:
    """A dead cell hands over to the next rule but an unknown key does not: a map can't say that."""
    down = any(not cell.serving for cell in cells.all)
    policies = rule.policies
    return (
        down
        and isinstance(policies.on_cell_down, Next)
        and not isinstance(policies.on_unknown, Next)
    )


def known_keys(action: Classify, cells: Cells) -> dict[str, Cell]:
    """Every key that names a cell, for SESSION_PREFIX and CELL_ID."""
    if action.type is ClassifyType.SESSION_PREFIX:
        return dict(cells.by_prefix)
    return {str(cell_id): cell for cell_id, cell in cells.by_id.items()}


def _empty_is_unknown(action: Classify, cells: Cells) -> bool:
    """An empty capture skips the rule; it must not make a known key of the template's rest."""
    assert action.value is not None
    rest = "".join(text for is_reference, text in action.value.parts if not is_reference)
    return rest not in known_keys(action, cells) and SENTINEL not in rest


def _exact(match: Match) -> Condition | None:
    """The condition that holds exactly when the match does; None if there is none."""
    if match.subject is Subject.HEADER:
        if not match.literal_names or (
            len(match.literal_names) > 1 and _HOST in match.literal_names
        ):
            return None
        names = tuple(":authority" if name == _HOST else name for name in match.literal_names)
        regex = _ANY if match.value is None else _search(match.value.pattern)
        return Condition(names, regex, match.invert)
    if match.subject is Subject.METHOD:
        assert match.value is not None
        return Condition((":method",), _search(match.value.pattern), match.invert)
    if match.subject is Subject.PATH:
        assert match.value is not None
        inner = without(match.value.pattern, "?", r"(?:\?|$)", widen=True)
        return Condition((":path",), rf"[^?]*?(?:{inner}){_ANY}", match.invert) if inner else None
    if match.subject is Subject.HOST:
        return _host(match)
    if match.subject is Subject.COOKIE:
        cookie = _cookie(match)
        return Condition(("cookie",), rf"{cookie}{_ANY}", match.invert) if cookie else None
    return None


def _search(pattern: str) -> str:
    return rf"{_ANY}?(?:{pattern}){_ANY}"


def _host(match: Match) -> Condition | None:
    """Only a fixed name: what the evaluator compares is folded, stripped of port and dot."""
    assert match.value is not None
    literal = re.fullmatch(r"\^((?:[a-z0-9-]|\\\.)+)\$", match.value.pattern)
    if literal is None:
        return None
    return Condition((":authority",), rf"(?i:{literal[1]})\.?(?::[0-9]+)?", match.invert)


def _cookie(match: Match) -> str | None:
    """A regex over the whole Cookie header, up to where the first matching cookie's match ends."""
    assert match.name is not None
    name = anchored(match.name.pattern)
    if name is None or not (name[1] and name[2]):
        return None
    name_regex = without(name[0], "=; \t", "", widen=False)
    value = anchored(match.value.pattern) if match.value else ("", True, False)
    if name_regex is None or value is None:
        return None
    value_regex = without(value[0], "; \t", "", widen=False)
    if value_regex is None:
        return None
    lead = r"[ \t]*" if value[1] else r"[^;]*?"
    tail = r"[ \t]*(?:;|$)" if value[2] else ""
    start = rf"(?:{_ANY}?;)??[ \t]*"
    return rf"{start}(?:{name_regex})[ \t]*={lead}(?:{value_regex}){tail}"


def _necessary(match: Match) -> Condition | None:
    """Something that must hold if the match does; None where nothing cheap is known."""
    if match.invert:
        return None
    if match.subject is Subject.COOKIE:
        return Condition(("cookie",), _ANY)
    if match.subject is Subject.QUERY:
        assert match.value is not None
        # Without its anchors the pattern is found at least wherever it was.
        inner = without(match.value.pattern, "", "", widen=True, start="")
        return Condition((":path",), rf"[^?]*\?{_ANY}?(?:{inner or ''}){_ANY}")
    return None


def _extraction(rule: Rule, action: Classify) -> tuple[int, Extraction] | None:
    """How to get the key, and which match it comes from."""
    assert action.value is not None
    (wanted,) = action.value.references
    for index in reversed(range(len(rule.matches))):
        match = rule.matches[index]
        groups = match.value.groups if match.value else ()
        if match.invert or (match.name is not None and wanted in match.name.groups):
            if not match.invert:
                return None
            continue
        if wanted not in groups:
            continue
        return _extract_from(match, action, wanted, index)
    return None


def _extract_from(
    match: Match, action: Classify, wanted: str, index: int
) -> tuple[int, Extraction] | None:
    assert match.value is not None
    assert action.value is not None
    if match.subject is Subject.COOKIE:
        body, header = _cookie(match), "cookie"
    elif len(match.literal_names) == 1 and match.literal_names[0] != _HOST:
        body, header = rf"{_ANY}?(?:{match.value.pattern})", match.literal_names[0]
    else:
        return None
    if body is None:
        return None
    pattern = _single_capture(rf"^{body}{_ANY}$", wanted)
    if pattern is None:
        return None
    parts = [
        r"\1" if is_reference else text.replace("\\", r"\\")
        for is_reference, text in action.value.parts
    ]
    return index, Extraction(header, pattern, SENTINEL + "".join(parts))


def _single_capture(pattern: str, wanted: str) -> str | None:
    """The pattern with only the wanted group capturing (as group 1)."""
    out: list[str] = []
    at = 0
    found_wanted = 0
    token = re.compile(
        r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?P?<(\w+)>|\((?!\?)", re.DOTALL
    )
    while found := token.search(pattern, at):
        out.append(pattern[at : found.start()])
        if found[1] is not None:
            found_wanted += found[1] == wanted
            out.append("(" if found[1] == wanted else "(?:")
        elif found[0] == "(":
            out.append("(?:")
        else:
            out.append(found[0])
        at = found.end()
    out.append(pattern[at:])
    return "".join(out) if found_wanted == 1 else None
