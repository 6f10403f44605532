"""A ruleset as a program that the module runs inside Envoy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.routing.model import Cells, Outcome
from control_plane.routing.rules.ruleset import Rule, Ruleset


@dataclass(frozen=True, slots=True)
class Answer:
    """What a text of the program means."""

    rule: Rule
    outcome: Outcome
    tier: str


@dataclass(frozen=True, slots=True)
class Program:
    """The bytes for the module, and what its texts mean."""

    code: bytes
    answers: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class RulesetProgram:
    """The part of a program that depends on the ruleset alone."""

    ruleset: Ruleset

    @classmethod
    def of(cls, ruleset: Ruleset) -> RulesetProgram:
        """Return the program of a ruleset."""
        return cls(ruleset)

    def program(self, cells: Cells) -> Program:
        """Return the program for these cells."""
        del cells
        return Program(b"", {})
