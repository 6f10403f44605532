"""A rule as a program has it: matches, captures, transforms, required values and the action.

The values of a rule have numbers, its slots. Rules that follow each other with the same matches and
transforms share them, so that they are matched and decoded once: the rules for a token's cell and
for its organization, for example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from control_plane.compiler.programs import limits
from control_plane.compiler.programs.looks import look, pattern_text
from control_plane.compiler.programs.tables import Tables
from control_plane.compiler.programs.writing import NO_SLOT, listed, text, u8, u16
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Match,
    Rule,
    Subject,
    Template,
    Transform,
    TransformKind,
)

_RAW, _URL, _QUERY = range(3)
_READINGS = {Subject.PATH: _URL, Subject.QUERY: _QUERY}
_TRANSFORMS = {
    TransformKind.ROUTABLE_TOKEN_PAYLOAD: 0,
    TransformKind.ROUTABLE_JSON: 1,
    TransformKind.DECODE_BASE64_MATCH: 2,
}
_CLAIMS, _SESSION_PREFIX, _CELL_ID, _FIXED, _OPAQUE = range(5)


class _Inexpressible(Exception):
    """A program can't do what the rule says; the message is the reason."""


@dataclass(frozen=True, slots=True)
class RuleCode:
    """A rule as bytes, and what keeps a program from answering it."""

    rule: Rule
    code: bytes
    hindrance: str | None
    """None: nothing does. Else the program is never certain where the rule may match."""
    whole: bool
    """Whether the code has more of the rule than its matches."""


def is_fixed(rule: Rule) -> bool:
    """Return whether a rule gives all requests that it matches the same."""
    action = rule.action
    if not isinstance(action, Classify) or action.type is ClassifyType.FIRST_CELL:
        return True
    return action.value is not None and not action.value.references


def encode_rules(rules: Sequence[Rule], tables: Tables) -> list[RuleCode]:
    """Return each rule's code."""
    codes: list[RuleCode] = []
    for _, alike in groupby(rules, key=lambda rule: (rule.matches, rule.transforms)):
        group = tuple(alike)
        used = dict.fromkeys(name for rule in group for name in _references(rule))
        slots = {name: number for number, name in enumerate(used)}
        whole = False
        for rule in group:
            code = _encode(rule, slots, tables, same=whole)
            whole = code.whole
            codes.append(code)
    return codes


def _references(rule: Rule) -> Iterator[str]:
    """Yield every name whose value the rule uses."""
    for template in _templates(rule):
        yield from template.references
    yield from rule.required


def _templates(rule: Rule) -> Iterator[Template]:
    yield from (transform.input for transform in rule.transforms)
    if isinstance(rule.action, Classify):
        if rule.action.value is not None:
            yield rule.action.value
        yield from (template for _, template in rule.action.claims)


def _encode(rule: Rule, slots: Mapping[str, int], tables: Tables, *, same: bool) -> RuleCode:
    matches = rule.matches[: limits.MAX_MATCHES]
    head = listed((u16(tables.probe(look(one))) + u8(one.invert) for one in matches), 1)
    unsure = (tables.hindrances.get(look(one)) for one in rule.matches)
    hindrance = next((reason for reason in unsure if reason is not None), None)
    try:
        body = _body(rule, slots, tables)
        return RuleCode(rule, u8(same, len(slots)) + head + body, hindrance, True)
    except _Inexpressible as error:
        # Its matches alone: where one certainly fails, the rule is passed.
        nothing = listed((), 1) * 3 + u8(_OPAQUE)
        return RuleCode(rule, u8(0, 0) + head + nothing, hindrance or str(error), False)


def _body(rule: Rule, slots: Mapping[str, int], tables: Tables) -> bytes:
    if len(slots) > limits.MAX_SLOTS:
        raise _Inexpressible(f"it uses more than {limits.MAX_SLOTS} values")
    if len(rule.matches) > limits.MAX_MATCHES:
        raise _Inexpressible(f"it has more than {limits.MAX_MATCHES} matches")
    captures = [
        code
        for place, match in enumerate(rule.matches)
        for code in _captures(place, match, slots, tables)
    ]
    transforms = [_transform(one, slots, tables) for one in rule.transforms]
    required = [u8(slots[name]) for name in dict.fromkeys(rule.required)]
    return (
        listed(captures, 1)
        + listed(transforms, 1)
        + listed(required, 1)
        + _action(rule, slots, tables)
    )


def _captures(
    place: int, match: Match, slots: Mapping[str, int], tables: Tables
) -> Iterator[bytes]:
    """Yield what a match captures, of its name first, as the evaluator does."""
    if match.invert:
        return
    for of_name, regex in ((True, match.name), (False, match.value)):
        if regex is None or not any(group in slots for group in regex.groups):
            continue
        if of_name and match.subject is Subject.HEADER:
            raise _Inexpressible("it captures the name of a header")
        reading = _READINGS.get(match.subject, _RAW)
        yield u8(place, of_name, reading) + _groups(regex, "", slots, tables)


def _groups(regex: Regex, output: str, slots: Mapping[str, int], tables: Tables) -> bytes:
    """Return what captures those groups of a regex that are used, and the slots of them."""
    used = tuple(group for group in regex.groups if output + group in slots)
    if len(used) > limits.MAX_GROUPS:
        raise _Inexpressible(f"it uses more than {limits.MAX_GROUPS} groups of one regex")
    index = tables.automata.captures(pattern_text(regex), used)
    if index is None:
        raise _Inexpressible(f"no automaton captures what {regex.pattern} does")
    return u16(index) + u8(*(slots[output + group] for group in used))


def _transform(one: Transform, slots: Mapping[str, int], tables: Tables) -> bytes:
    prefix = f"{one.output}."
    code = u8(_TRANSFORMS[one.kind]) + _template(one.input, slots)
    if one.value is not None:
        return code + _groups(one.value, prefix, slots, tables)
    used = {name: slot for name, slot in slots.items() if name.startswith(prefix)}
    outputs = (text(name.removeprefix(prefix)) + u8(slot) for name, slot in used.items())
    return code + listed(outputs, 1)


def _template(template: Template, slots: Mapping[str, int]) -> bytes:
    if not template.source.isascii() or len(template.source) > limits.MAX_TEMPLATE_BYTES:
        raise _Inexpressible(f"{template.source} is long, or not ASCII")
    if len(template.parts) > limits.MAX_TEMPLATE_PARTS:
        raise _Inexpressible(f"{template.source} has many references")
    parts = (
        u8(slots[value]) if is_reference else u8(NO_SLOT) + text(value)
        for is_reference, value in template.parts
    )
    return listed(parts, 1)


def _action(rule: Rule, slots: Mapping[str, int], tables: Tables) -> bytes:
    action = rule.action
    if is_fixed(rule):
        return u8(_FIXED)
    assert isinstance(action, Classify)
    if action.type is ClassifyType.CLAIM:
        claims = (
            u16(tables.bucket(bucket)) + _template(template, slots)
            for bucket, template in action.claims
        )
        return u8(_CLAIMS) + listed(claims, 1)
    assert action.value is not None
    kind = _CELL_ID if action.type is ClassifyType.CELL_ID else _SESSION_PREFIX
    return u8(kind) + _template(action.value, slots)
