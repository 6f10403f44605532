"""How much work the building of automata may be.

Few regexes make many states, and which do is seen only by making them. So every part that builds
counts its steps, and building stops when the budget is spent.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 2_000_000
"""One or two seconds. All of GitLab's regexes together take 70,000."""


class TooComplex(Exception):
    """A regex is outside of the subset, or a bound is exceeded."""


@dataclass(slots=True)
class Budget:
    """The steps that are left. Several calls may share one."""

    steps: int = STEPS

    def take(self, steps: int) -> None:
        """Count steps.

        Raises:
            TooComplex: there are none left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooComplex
