"""Regexes as automata that run inside Envoy (`envoy/module/automaton.c`), exactly as RE2 would.

>>> compile_set(["^/a", "b$"]) is not None
True
>>> compile_captures("^/(?<name>[^/]+)", ["name"]).groups
('name',)
"""

from control_plane.compiler.automata.budget import Budget
from control_plane.compiler.automata.captures import Captures, compile_captures
from control_plane.compiler.automata.match_set import MatchSet, compile_set

__all__ = ["Budget", "Captures", "MatchSet", "compile_captures", "compile_set"]
