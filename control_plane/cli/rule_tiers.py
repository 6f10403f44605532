"""Which tier of the edge answers each rule, and which rules a small rewrite would make faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from control_plane.compiler.programs import RulesetProgram, RuleTiers
from control_plane.routing.rules.document import Document
from control_plane.routing.rules.lint import Finding
from control_plane.routing.rules.parse import parse

FIELDS = {
    "RULE": "rule",
    "WITH THE MODULE": "with_module",
    "WITHOUT IT": "without_module",
    "UP TO CELLS": "up_to_cells",
    "WHAT KEEPS THE MODULE FROM IT": "hindrance",
    "HOW TO REWRITE IT": "hint",
}
"""The columns of the table, and the field that each shows."""


def tiers(document: Document) -> tuple[RuleTiers, ...]:
    """Return the tiers of each rule.

    Raises:
        RulesetError: with every problem there is.
    """
    return RulesetProgram.of(parse(document)).tiers()


def documents(rules: Iterable[RuleTiers]) -> Sequence[dict[str, Any]]:
    """Return tiers as data."""
    return [{field: getattr(one, field) for field in FIELDS.values()} for one in rules]


def findings(rules: Iterable[RuleTiers]) -> list[Finding]:
    """Return a warning for each rule that a small rewrite would make faster."""
    return [
        Finding(
            "warning", one.rule, "match", f"the module can't answer it: {one.hindrance}", one.hint
        )
        for one in rules
        if one.hindrance is not None and one.hint is not None
    ]
