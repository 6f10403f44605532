"""Which rules Envoy can answer by itself.

A rule is native if Envoy can test all its matches exactly, and if its answer is one of finitely
many: a fixed cell, cells by weight, or the cell of a key that stands in a header. Everything else
is left to the classifier: a rule with transforms, a claim, a regex that can't be rewritten.

The condition of a native rule holds exactly when the evaluator says that the rule matches. For a
rule that is left to the classifier it may also hold when the rule does not: the classifier
evaluates the whole ruleset, so asking once too often is slow and never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from control_plane.compiler.native.conditions import (
    Condition,
    exact_condition,
    necessary_condition,
)
from control_plane.compiler.native.key_lookup import KeyLookup, find_lookup
from control_plane.routing.rules.ruleset import ClassifyType, Next, Proxy, Rule


@dataclass(frozen=True, slots=True)
class NativeRule:
    """A rule that Envoy answers: by a fixed cell, by weight, or by a key."""

    rule: Rule
    conditions: tuple[Condition, ...]
    lookup: KeyLookup | None = None
    """Of a rule with a key; its match is none of the ``conditions``."""


@dataclass(frozen=True, slots=True)
class AskClassifier:
    """A rule that needs the classifier; the conditions hold at least whenever it matches."""

    rule: Rule
    conditions: tuple[Condition, ...]


Analysed = NativeRule | AskClassifier


def analyse(rule: Rule) -> Analysed:
    """Decide whether Envoy answers a rule. That depends on the rule alone, whatever the cells."""
    exact = tuple(exact_condition(match) for match in rule.matches)
    conditions = tuple(condition for condition in exact if condition is not None)
    if not rule.transforms and not rule.required and len(conditions) == len(exact):
        native = _native(rule, conditions)
        if native is not None:
            return native
    loose = (
        condition or necessary_condition(match)
        for match, condition in zip(rule.matches, exact, strict=True)
    )
    return AskClassifier(rule, tuple(condition for condition in loose if condition is not None))


def needs_second_try(analysed: Iterable[Analysed]) -> bool:
    """Return whether a dead classifier hands some request over to the next rule."""
    return any(
        (isinstance(one, AskClassifier) or one.lookup is not None)
        and isinstance(one.rule.policies.on_classifier_down, Next)
        for one in analysed
    )


def _native(rule: Rule, conditions: Sequence[Condition]) -> NativeRule | None:
    action = rule.action
    if isinstance(action, Proxy) or action.type is ClassifyType.FIRST_CELL:
        return NativeRule(rule, tuple(conditions))
    if action.type is ClassifyType.CLAIM or action.value is None:
        return None
    references = len(action.value.references)
    if references == 0:
        return NativeRule(rule, tuple(conditions))
    keyed = find_lookup(rule, action.value, conditions) if references == 1 else None
    if keyed is None:
        return None
    index, lookup = keyed
    others = tuple(condition for at, condition in enumerate(conditions) if at != index)
    return NativeRule(rule, others, lookup)
