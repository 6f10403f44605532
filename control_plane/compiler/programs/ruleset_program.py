"""A ruleset's program: what is compiled once for a ruleset, and what for each set of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.compiler.programs.cell_code import Answer, encode_cells
from control_plane.compiler.programs.looks import look
from control_plane.compiler.programs.rule_code import RuleCode, encode_rules
from control_plane.compiler.programs.tables import Tables
from control_plane.compiler.programs.tiers import RuleTiers, tiers_of
from control_plane.compiler.programs.writing import listed
from control_plane.routing.model import Cells
from control_plane.routing.rules.ruleset import Ruleset

_MAGIC = b"CWP1"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and what each text that it answers stands for."""

    code: bytes
    answers: Mapping[str, Answer]
    without_cells: frozenset[int]
    """The indexes of the rules that lead to no cell, because there would be too many answers."""


@dataclass(frozen=True, slots=True)
class RulesetProgram:
    """The part of a program that depends on the ruleset alone."""

    ruleset: Ruleset
    rules: Sequence[RuleCode]
    _code: bytes

    @classmethod
    def of(cls, ruleset: Ruleset) -> RulesetProgram:
        """Compile a ruleset. Its automata take a second or so."""
        tables = Tables(look(match) for rule in ruleset.rules for match in rule.matches)
        rules = encode_rules(ruleset.rules, tables)
        code = _MAGIC + tables.code() + listed(rule.code for rule in rules)
        return cls(ruleset, rules, code)

    def program(self, cells: Cells) -> Program:
        """Return the program for these cells."""
        part = encode_cells(self.ruleset.rules, cells)
        return Program(self._code + part.code, part.answers, part.without_cells)

    def tiers(self) -> tuple[RuleTiers, ...]:
        """Return which tiers answer each rule, and what keeps it from a faster one."""
        return tiers_of(self.rules)
