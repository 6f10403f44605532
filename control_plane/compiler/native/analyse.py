"""Which rules Envoy can answer by itself, and with which conditions and extractions.

A condition for a native rule must hold exactly when the evaluator says that the rule matches. For
a rule left to the classifier it may also hold when the rule does not: the classifier evaluates
the whole ruleset, so asking once too often is slow and never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from control_plane.compiler.native.key_pattern import (
    KeyPattern,
    Literal,
    leading_literal,
    parse_key_pattern,
    re2_class,
)
from control_plane.compiler.native.regex_rewrite import anchored, without
from control_plane.routing.model import Cell, Cells
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Match,
    Next,
    Proxy,
    Rule,
    Subject,
)

_ANY = r"\C*"
_HOST = "host"


@dataclass(frozen=True, slots=True)
class Condition:
    """One of these headers fully matches ``regex``; with ``invert``, none of them does."""

    headers: tuple[str, ...]
    regex: str
    invert: bool = False


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """A key that stands in a header, and names a cell."""

    header: str
    mark: str
    """Stands in the header wherever the key does, right in front of it but for ``start``'s end; ""
    where the header's value starts with the key pattern."""
    start: str
    """RE2 for the header from its beginning to where the key pattern starts."""
    pattern: KeyPattern
    template: tuple[str, str]
    """What the key has around the captured text."""
    whole: Condition
    """Holds exactly when the rule's match does, whatever the key."""

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """The texts whose capture gives one of these keys, with the key."""
        lead, trail = self.template
        found = {
            key[len(lead) : len(key) - len(trail)]: key
            for key in keys
            if key.startswith(lead) and key.endswith(trail) and len(key) > len(lead) + len(trail)
        }
        return {text: found[text] for text in self.pattern.matching(found)}

    def holds(self, texts: Iterable[str]) -> Condition:
        """One of these texts stands there as the key."""
        return self._holds(self.pattern.regex(texts), self._end())

    def may_hold(self, texts: Iterable[str]) -> Condition:
        """One of these texts, or a longer one, stands there as the key."""
        return self._holds(self.pattern.regex(texts), _ANY)

    def _holds(self, regex: str, end: str) -> Condition:
        return Condition((self.header,), f"{self.start}{regex}{end}")

    def _end(self) -> str:
        if self.pattern.closed:
            return rf"[ \t]*(?:;{_ANY})?" if self.mark else ""
        more = self.pattern.open_ended
        return f"(?:[^{re2_class(more)[1:]}{_ANY})?" if more else _ANY

    def spelled(self, texts: Iterable[str]) -> dict[str, str] | None:
        """How the header is written, from ``mark`` on, if one of these texts is its key.

        That is as browsers and clients write it: nothing between the mark and the "=", no blanks.
        If one of these stands in a header in which the mark stands once, then its text is the key:
        the mark has no "=" and the key no blank. None where that can't be told: something else than
        fixed text goes before the key, or one key's writing starts another's.
        """
        if not all(isinstance(part, Literal) for part in self.pattern.before):
            return None
        before = "".join(part.text for part in self.pattern.before if isinstance(part, Literal))
        after = self.pattern.after[0] if self.pattern.after else None
        end = after.text if isinstance(after, Literal) else ""
        head = f"{self.mark}=" if self.mark else ""
        found = {f"{head}{before}{text}{end}": text for text in texts}
        ordered = sorted(found)
        if any(longer.startswith(text) for text, longer in pairwise(ordered)):
            return None
        return {text: found[text] for text in ordered}

    def twice(self) -> Condition:
        """The mark stands there more than once, so which is meant is for the evaluator to say."""
        mark = re.escape(self.mark)
        return Condition((self.header,), f"{_ANY}{mark}{_ANY}{mark}{_ANY}")


@dataclass(frozen=True, slots=True)
class NativeRule:
    """A rule that Envoy answers: by a fixed cell, by weight, or by a key."""

    rule: Rule
    conditions: tuple[Condition, ...]
    lookup: KeyLookup | None = None


@dataclass(frozen=True, slots=True)
class AskClassifier:
    """A rule that needs the classifier; the conditions hold at least whenever it matches."""

    rule: Rule
    conditions: tuple[Condition, ...]


Analysed = NativeRule | AskClassifier


def analyse(rule: Rule) -> Analysed:
    """Decide the tier of a rule. Depends on the rule alone, so it is worth keeping."""
    exact = tuple(_exact(match) for match in rule.matches)
    if not rule.transforms and not rule.required and None not in exact:
        conditions = tuple(condition for condition in exact if condition is not None)
        native = _native(rule, conditions)
        if native is not None:
            return native
    loose = tuple(
        found
        for match, condition in zip(rule.matches, exact, strict=True)
        if (found := condition or _necessary(match)) is not None
    )
    return AskClassifier(rule, loose)


def _native(rule: Rule, conditions: tuple[Condition, ...]) -> NativeRule | None:
    action = rule.action
    if isinstance(action, Proxy) or action.type is ClassifyType.FIRST_CELL:
        return NativeRule(rule, conditions)
    if action.type is ClassifyType.CLAIM or action.value is None:
        return None
    if not action.value.references:
        return NativeRule(rule, conditions)
    if len(action.value.references) > 1:
        return None
    found = _lookup(rule, action, conditions)
    if found is None:
        return None
    index, lookup = found
    others = tuple(c for at, c in enumerate(conditions) if at != index)
    return NativeRule(rule, others, lookup)


def needs_second_try(analysed: Iterable[Analysed]) -> bool:
    """Whether a dead classifier hands some request over to the next rule."""
    return any(
        (isinstance(one, AskClassifier) or one.lookup is not None)
        and isinstance(one.rule.policies.on_classifier_down, Next)
        for one in analysed
    )


def known_keys(action: Classify, cells: Cells) -> dict[str, Cell]:
    """Every key that names a cell, for SESSION_PREFIX and CELL_ID."""
    if action.type is ClassifyType.SESSION_PREFIX:
        return dict(cells.by_prefix)
    return {str(cell_id): cell for cell_id, cell in cells.by_id.items()}


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


def _cookie_start(match: Match) -> str | None:
    """A regex over the Cookie header, from its beginning to where the cookie's value starts."""
    assert match.name is not None
    name = anchored(match.name.pattern)
    if name is None or not (name[1] and name[2]):
        return None
    name_regex = without(name[0], "=; \t", "", widen=False)
    if name_regex is None:
        return None
    return rf"(?:{_ANY}?;)??[ \t]*(?:{name_regex})[ \t]*=[ \t]*"


def _cookie(match: Match) -> str | None:
    """A regex over the whole Cookie header, up to where the first matching cookie's match ends."""
    start = _cookie_start(match)
    value = anchored(match.value.pattern) if match.value else ("", True, False)
    if start is None or value is None:
        return None
    value_regex = without(value[0], "; \t", "", widen=False)
    if value_regex is None:
        return None
    lead = "" if value[1] else r"[^;]*?"
    tail = r"[ \t]*(?:;|$)" if value[2] else ""
    return f"{start}{lead}(?:{value_regex}){tail}"


def _necessary(match: Match) -> Condition | None:
    """Something that must hold if the match does; None where nothing cheap is known."""
    if match.invert:
        return None
    if match.subject is Subject.COOKIE:
        return Condition(("cookie",), _ANY)
    if match.subject is Subject.QUERY:
        assert match.value is not None
        if match.value.matches(b""):
            # Without a "?" there is a query too: an empty one.
            return None
        # Without its anchors the pattern is found at least wherever it was.
        inner = without(match.value.pattern, "", "", widen=True, start="")
        return Condition((":path",), rf"[^?]*\?{_ANY}?(?:{inner or ''}){_ANY}")
    return None


def _lookup(
    rule: Rule, action: Classify, conditions: tuple[Condition, ...]
) -> tuple[int, KeyLookup] | None:
    """Which match gives the key, and how; None where there may be several ways to read it."""
    assert action.value is not None
    (wanted,) = action.value.references
    for index in reversed(range(len(rule.matches))):
        match = rule.matches[index]
        groups = match.value.groups if match.value else ()
        if match.invert or (match.name is not None and wanted in match.name.groups):
            if not match.invert:
                return None
            continue
        if wanted in groups:
            made = _lookup_in(match, action, wanted, conditions[index])
            return None if made is None else (index, made)
    return None


def _lookup_in(match: Match, action: Classify, wanted: str, whole: Condition) -> KeyLookup | None:
    assert match.value is not None
    assert action.value is not None
    pattern = parse_key_pattern(match.value.pattern, wanted)
    if pattern is None or not match.value.case_sensitive:
        return None
    if match.subject is Subject.COOKIE:
        assert match.name is not None
        mark = leading_literal(match.name.pattern)
        header, start = "cookie", _cookie_start(match)
        if not mark or start is None:
            return None
    elif len(match.literal_names) == 1 and match.literal_names[0] != _HOST:
        mark, header, start = "", match.literal_names[0], ""
    else:
        return None
    parts = action.value.parts
    at = next(index for index, (is_reference, _) in enumerate(parts) if is_reference)
    lead = "".join(text for _, text in parts[:at])
    trail = "".join(text for _, text in parts[at + 1 :])
    return KeyLookup(header, mark, start, pattern, (lead, trail), whole)
