"""Which tier answers each rule, and what keeps it from a faster one.

From fast to slow: ``native`` (Envoy itself, or the module with a key or a fixed cell), ``edge-map``
(the module, which knows the owner of each claim), ``edge-cache`` (an answer that was given before)
and ``classifier``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.compiler.cache_key import own_key
from control_plane.compiler.native.analyse import NativeRule, analyse
from control_plane.compiler.programs import limits
from control_plane.compiler.programs.cell_code import EDGE_MAP, NATIVE, tier_of
from control_plane.compiler.programs.looks import NoLook, look, pattern_text
from control_plane.compiler.programs.regex_hints import rewrite_hint
from control_plane.compiler.programs.rule_code import RuleCode, is_fixed
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Match, Rule, Subject

EDGE_CACHE, CLASSIFIER = "edge-cache", "classifier"


@dataclass(frozen=True, slots=True)
class RuleTiers:
    """The tiers of one rule."""

    rule: str
    with_module: str
    """The tier that answers it where Envoy has the module."""
    without_module: str
    up_to_cells: int | None
    """The module answers it as long as there are no more cells; None: it doesn't depend on them."""
    hindrance: str | None
    """What keeps the module from answering it; None: nothing does."""
    hint: str | None
    """How to rewrite it, if a small change is enough."""


def tiers_of(codes: Sequence[RuleCode]) -> tuple[RuleTiers, ...]:
    """Return the tiers of each rule, given the rules' codes."""
    rules = [code.rule for code in codes]
    room = _up_to_cells(rules)
    return tuple(_tiers(code, rules[index + 1 :], room[index]) for index, code in enumerate(codes))


def _tiers(code: RuleCode, later: Sequence[Rule], up_to_cells: int | None) -> RuleTiers:
    rule = code.rule
    slow = CLASSIFIER if own_key(rule, later) is None else EDGE_CACHE
    without = NATIVE if isinstance(analyse(rule), NativeRule) else slow
    if code.hindrance is None:
        return RuleTiers(rule.id, tier_of(rule), without, up_to_cells, None, None)
    hint = next((hint for one in rule.matches if (hint := _hint(one)) is not None), None)
    return RuleTiers(rule.id, without, without, None, code.hindrance, hint or _decoding_hint(rule))


def _up_to_cells(rules: Sequence[Rule]) -> list[int | None]:
    """Return for each rule up to how many cells there are answers for it; see `encode_cells`."""
    room = limits.MAX_ANSWERS - 2 * len(rules)
    keyed = [index for index, rule in enumerate(rules) if not is_fixed(rule)]
    keyed.sort(key=lambda index: tier_of(rules[index]) == EDGE_MAP)
    cells: list[int | None] = [None] * len(rules)
    for place, index in enumerate(keyed):
        cells[index] = room // (place + 1)
    return cells


def _hint(match: Match) -> str | None:
    """Return how to rewrite a match that a program can't look at."""
    if isinstance(look(match), NoLook):
        named = match.subject is Subject.HEADER and not match.literal_names
        return "list the headers' names: ^(?:x-one|x-two)$" if named else None
    return _first_hint(match.name, match.value)


def _decoding_hint(rule: Rule) -> str | None:
    return _first_hint(*(transform.value for transform in rule.transforms))


def _first_hint(*regexes: Regex | None) -> str | None:
    hints = (rewrite_hint(pattern_text(regex)) for regex in regexes if regex is not None)
    return next((hint for hint in hints if hint is not None), None)
