"""Compiles rulesets to programs, which the module in Envoy runs (`envoy/module/program.h`)."""

from control_plane.compiler.programs.cell_code import Answer
from control_plane.compiler.programs.ruleset_program import Program, RulesetProgram
from control_plane.compiler.programs.tiers import RuleTiers

__all__ = ["Answer", "Program", "RuleTiers", "RulesetProgram"]
