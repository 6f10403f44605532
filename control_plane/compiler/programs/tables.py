"""The tables that all rules of a program share: automata, texts, cookies, matches and buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from control_plane.compiler.automata import Budget, compile_captures
from control_plane.compiler.programs import limits
from control_plane.compiler.programs.looks import CookieLook, Look, NoLook, Text, TextLook
from control_plane.compiler.programs.pattern_sets import PatternSet, pattern_set
from control_plane.compiler.programs.writing import NONE, listed, text, u8, u16, u32
from control_plane.topology.values.claim_key import NormalForm, normal_form

_TEXT_PROBE, _COOKIE_PROBE, _OPAQUE_PROBE = range(3)
_FORMS = {form: number for number, form in enumerate(NormalForm)}


class Automata:
    """Automata, each once."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._indexes: dict[tuple[bool, bytes], int] = {}
        self._captures: dict[tuple[str, tuple[str, ...]], int | None] = {}

    def add_set(self, patterns: PatternSet) -> int:
        """Return the index of a set."""
        return NONE if patterns.code is None else self._add(False, patterns.code)

    def captures(self, pattern: str, groups: tuple[str, ...]) -> int | None:
        """Return the index of what captures these groups; None if no automaton can."""
        key = pattern, groups
        if key not in self._captures:
            made = compile_captures(pattern, groups, self._budget)
            self._captures[key] = None if made is None else self._add(True, made.code)
        return self._captures[key]

    def _add(self, captures: bool, code: bytes) -> int:
        return self._indexes.setdefault((captures, code), len(self._indexes))

    def code(self) -> bytes:
        """Return all automata as a program has them."""
        return listed(u8(captures) + u32(len(code)) + code for captures, code in self._indexes)


@dataclass(slots=True)
class _TextTable:
    """The texts that are looked at, and the set of each."""

    order: dict[Text, int] = field(default_factory=dict)
    sets: dict[Text, PatternSet] = field(default_factory=dict)


class Tables:
    """The tables of a ruleset's matches."""

    def __init__(self, looks: Iterable[Look]) -> None:
        every = tuple(dict.fromkeys(looks))
        budget = Budget()
        self.automata = Automata(budget)
        self._texts = _text_table([one for one in every if isinstance(one, TextLook)], budget)
        cookies = [one for one in every if isinstance(one, CookieLook)]
        self._names = pattern_set((c.name for c in cookies), limits.MAX_COOKIE_PATTERNS, budget)
        values = (c.value for c in cookies if c.value is not None)
        self._values = pattern_set(values, limits.MAX_COOKIE_PATTERNS, budget)
        self._cookies = 0
        self._probes: dict[Look, int] = {}
        self._probe_codes: list[bytes] = []
        self._buckets: dict[str, int] = {}
        self.hindrances: dict[Look, str] = {}
        """By each look that is never certain, why."""
        for one in every:
            self._probes[one] = len(self._probe_codes)
            self._probe_codes.append(self._probe_code(one))

    def probe(self, look: Look) -> int:
        """Return the index of a match."""
        return self._probes[look]

    def bucket(self, name: str) -> int:
        """Return the index of a bucket."""
        return self._buckets.setdefault(name, len(self._buckets))

    def code(self) -> bytes:
        """Return the tables as a program has them; no rule may be added to them after this."""
        names, values = self.automata.add_set(self._names), self.automata.add_set(self._values)
        texts = [
            u8(one.part) + text(one.header) + u16(self.automata.add_set(self._texts.sets[one]))
            for one in self._texts.order
        ]
        buckets = (text(name) + u8(_FORMS[normal_form(name)]) for name in self._buckets)
        return b"".join(
            (
                self.automata.code(),
                u16(names, values),
                listed(texts),
                u16(self._cookies),
                listed(self._probe_codes),
                listed(buckets),
            )
        )

    def _probe_code(self, look: Look) -> bytes:
        reason = self._hindrance(look)
        if reason is not None:
            self.hindrances[look] = reason
            return u8(_OPAQUE_PROBE)
        if isinstance(look, CookieLook):
            self._cookies += 1
            return u8(_COOKIE_PROBE) + u16(
                self._names.numbers[look.name], _number(self._values.numbers, look.value)
            )
        assert isinstance(look, TextLook)
        numbers = self._texts.sets[look.texts[0]].numbers
        texts = listed((u16(self._texts.order[one]) for one in look.texts), 1)
        return u8(_TEXT_PROBE) + u16(_number(numbers, look.pattern)) + texts

    def _hindrance(self, look: Look) -> str | None:
        if isinstance(look, NoLook):
            return look.reason
        if isinstance(look, CookieLook):
            if self._cookies == limits.MAX_COOKIES:
                return f"more than {limits.MAX_COOKIES} matches look at cookies"
            value = None if look.value is None else self._values.refused.get(look.value)
            return self._names.refused.get(look.name) or value
        if not all(one in self._texts.order for one in look.texts):
            return f"rules look at more than {limits.MAX_TEXTS} headers"
        refused = self._texts.sets[look.texts[0]].refused
        return None if look.pattern is None else refused.get(look.pattern)


def _number(numbers: Mapping[str, int], pattern: str | None) -> int:
    return NONE if pattern is None else numbers[pattern]


def _text_table(looks: Sequence[TextLook], budget: Budget) -> _TextTable:
    """Give each text the set of all patterns that are looked for in it.

    Texts that one match looks at have the same set, so that a pattern has one number.
    """
    joined: dict[Text, set[Text]] = {}
    table = _TextTable()
    for one in looks:
        known = table.order.keys() | dict.fromkeys(one.texts).keys()
        if len(known) > limits.MAX_TEXTS:
            continue
        for each in one.texts:
            table.order.setdefault(each, len(table.order))
        group = set(one.texts).union(*(joined.get(each, set()) for each in one.texts))
        joined |= dict.fromkeys(group, group)
    words = limits.MAX_BIT_WORDS
    for each in table.order:
        if each in table.sets:
            continue
        group = joined[each]
        patterns = (o.pattern for o in looks if o.pattern is not None and o.texts[0] in group)
        room = min(limits.MAX_SET_PATTERNS, words // len(group) * limits.WORD)
        made = pattern_set(patterns, room, budget)
        words -= len(group) * -(-len(made.numbers) // limits.WORD)
        table.sets |= dict.fromkeys(group, made)
    return table
