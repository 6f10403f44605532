"""How much one ruleset may ask for, so that whatever is stored can also be compiled.

A ruleset goes a long way: it is read here, turned into Envoy's route table by the compiler, and
into one RE2 set by the evaluator. Each step costs more than the one before. A pattern of 13
characters (``[a-z]{1,1000}``) is a program of 2,003 instructions, and RE2's time grows with the
square of a program's length. The compiler walks a pattern's groups recursively, and compares each
rule with all later ones. So the limits stand here, where a ruleset is written, and they suffice for
all that follows: the tests compile what is at them.

GitLab's ruleset has 70 patterns with 5,955 characters and 4,244 instructions; its groups are five
deep, and ten of its rules look up a key.
"""

from __future__ import annotations

from control_plane.routing.rules.regex import MAX_PROGRAM, Regex, TooLargeProgram

MAX_RULES = 1000
MAX_PATTERNS = 2000
"""Patterns of all rules."""
MAX_PATTERN_CHARS_IN_ALL = 128 * 1024
MAX_PROGRAM_IN_ALL = 50_000
"""RE2 instructions of all patterns. In the worst case one byte of a path costs the evaluator a step
for each."""
MAX_KEYED_RULES = 32
"""Rules that look a key up (``CELL_ID``, ``SESSION_PREFIX``): each has a route for every cell."""
MAX_JSON_DEPTH = 32
"""Lists and objects one within another. A ruleset that works has seven."""
MAX_WEIGHTS = 1000
"""Cells that one policy or action weighs."""
MAX_PROBLEMS = 100
"""So many problems are reported at once; reading stops then."""
MAX_FINDINGS = 1000


class BudgetExceeded(Exception):
    """The patterns of a ruleset ask for too much together; the message says for what."""


class PatternBudget:
    """Counts what the patterns of one ruleset cost, and compiles them while that is affordable."""

    def __init__(self) -> None:
        self._patterns = 0
        self._chars = 0
        self._program = 0

    def compile(self, pattern: str, *, case_sensitive: bool) -> Regex:
        """Return the compiled pattern.

        Raises:
            RegexError: RE2 refuses this pattern, or it is too large by itself.
            BudgetExceeded: All patterns so far are too many or too large together.
        """
        self._patterns += 1
        self._chars += len(pattern)
        self._check(self._patterns, MAX_PATTERNS, "patterns")
        self._check(self._chars, MAX_PATTERN_CHARS_IN_ALL, "characters in patterns")
        try:
            regex = Regex(pattern, case_sensitive=case_sensitive)
        except TooLargeProgram:
            # To find that out has cost as much as to compile a program of this size.
            self._spend(MAX_PROGRAM)
            raise
        self._spend(regex.program_size)
        return regex

    def _spend(self, instructions: int) -> None:
        self._program += instructions
        self._check(self._program, MAX_PROGRAM_IN_ALL, "RE2 instructions in patterns")

    @staticmethod
    def _check(count: int, limit: int, what: str) -> None:
        if count > limit:
            raise BudgetExceeded(f"more than {limit} {what}")
