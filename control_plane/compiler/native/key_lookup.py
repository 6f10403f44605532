r"""A key that stands in a header and names a cell: where it stands, and how to test for one.

The rule with the match ``{"type": "cookie", "name": "^_session$", "regexValue":
"^(?<p>cell-[0-9]+)-"}`` and the value ``${p}`` has this look-up:

    KeyLookup(
        header="cookie",
        mark="_session",
        start=r"(?:\C*?;)??[ \t]*(?:_session)[ \t]*=[ \t]*",
        pattern=<^ then cell-[0-9]+ as the key, then "-">,
        template=("", ""),
        whole=<the condition of the match>,
    )

Of the keys cell-1 and cell-2, ``holds(["cell-1"])`` tells whether the first stands there. There
is a look-up only where the key can be read in one way (see `key_pattern`), so that testing for
each key gives what the evaluator captures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from control_plane.compiler.native.conditions import ANY, HOST, Condition, cookie_start
from control_plane.compiler.native.key_pattern import (
    KeyPattern,
    Literal,
    leading_literal,
    parse_key_pattern,
    re2_class,
)
from control_plane.routing.rules.ruleset import Match, Rule, Subject, Template


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """A key that stands in a header and names a cell."""

    header: str
    mark: str
    """Text that stands in the header wherever the key does. It is the beginning of the cookie's
    name; "" where the header's value itself starts with the key pattern."""
    start: str
    """RE2 for the header from its beginning to where the key pattern starts."""
    pattern: KeyPattern
    template: tuple[str, str]
    """What the key has before and after the captured text."""
    whole: Condition
    """Holds exactly when the rule's match does, whatever the key."""

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the captured texts that give one of these keys, each with its key."""
        lead, trail = self.template
        captured = {
            key[len(lead) : len(key) - len(trail)]: key
            for key in keys
            if key.startswith(lead) and key.endswith(trail) and len(key) > len(lead) + len(trail)
        }
        return {text: captured[text] for text in self.pattern.matching(captured)}

    def holds(self, texts: Iterable[str]) -> Condition:
        """Return the condition that one of these texts stands there as the key."""
        return self._stands(self.pattern.regex(texts), self._end())

    def may_hold(self, texts: Iterable[str]) -> Condition:
        """Return the condition that one of these texts, or a longer one, stands there."""
        return self._stands(self.pattern.regex(texts), ANY)

    def _stands(self, regex: str, end: str) -> Condition:
        return Condition((self.header,), f"{self.start}{regex}{end}")

    def _end(self) -> str:
        if self.pattern.closed:
            return rf"[ \t]*(?:;{ANY})?" if self.mark else ""
        more = self.pattern.open_ended
        return f"(?:[^{re2_class(more)[1:]}{ANY})?" if more else ANY

    def spelled(self, texts: Iterable[str]) -> dict[str, str] | None:
        """Return how the header reads, from ``mark`` on, for each of these texts as the key.

        That is as browsers and clients write it: nothing between the mark and the "=", no blanks.
        If the mark stands once in a header, and one of these spellings does, then its text is the
        key: the mark has no "=" and the key no blank.

        Returns:
            Texts by spelling, in order; None where spellings can't tell keys apart: something else
            than fixed text goes before the key, or one spelling starts another.
        """
        if not all(isinstance(part, Literal) for part in self.pattern.before):
            return None
        before = "".join(part.text for part in self.pattern.before if isinstance(part, Literal))
        after = self.pattern.after[0] if self.pattern.after else None
        end = after.text if isinstance(after, Literal) else ""
        head = f"{self.mark}=" if self.mark else ""
        by_spelling = {f"{head}{before}{text}{end}": text for text in texts}
        ordered = sorted(by_spelling)
        if any(longer.startswith(spelling) for spelling, longer in pairwise(ordered)):
            return None
        return {spelling: by_spelling[spelling] for spelling in ordered}

    def twice(self) -> Condition:
        """Return the condition that the mark stands there more than once.

        Then only the evaluator can say which of the two cookies counts.
        """
        mark = re.escape(self.mark)
        return Condition((self.header,), f"{ANY}{mark}{ANY}{mark}{ANY}")


def find_lookup(
    rule: Rule, template: Template, conditions: Sequence[Condition]
) -> tuple[int, KeyLookup] | None:
    """Find the match that gives the one reference of ``template``.

    Args:
        conditions: The exact conditions of the rule's matches, in their order.

    Returns:
        The index of the match, and the look-up; None where there may be several ways to read it.
    """
    (reference,) = template.references
    for index in reversed(range(len(rule.matches))):
        match = rule.matches[index]
        if match.invert:
            continue
        if match.name is not None and reference in match.name.groups:
            return None
        if match.value is not None and reference in match.value.groups:
            lookup = _lookup(match, template, conditions[index])
            return None if lookup is None else (index, lookup)
    return None


def _lookup(match: Match, template: Template, whole: Condition) -> KeyLookup | None:
    assert match.value is not None
    (reference,) = template.references
    pattern = parse_key_pattern(match.value.pattern, reference)
    place = _place(match)
    if pattern is None or place is None or not match.value.case_sensitive:
        return None
    header, mark, start = place
    at = template.parts.index((True, reference))
    lead = "".join(text for _, text in template.parts[:at])
    trail = "".join(text for _, text in template.parts[at + 1 :])
    return KeyLookup(header, mark, start, pattern, (lead, trail), whole)


def _place(match: Match) -> tuple[str, str, str] | None:
    """Return the header with the key, its mark and what goes before the key (see `KeyLookup`)."""
    if match.subject is Subject.COOKIE:
        assert match.name is not None
        mark, start = leading_literal(match.name.pattern), cookie_start(match)
        return ("cookie", mark, start) if mark and start is not None else None
    if len(match.literal_names) == 1 and match.literal_names[0] != HOST:
        return match.literal_names[0], "", ""
    return None
