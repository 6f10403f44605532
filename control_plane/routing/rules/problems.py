"""What is wrong with a ruleset; problems are collected, so that an author sees all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that can't work: in which rule and field, what, and a hint at how to mend it."""

    rule: str | None
    field: str
    message: str
    hint: str

    def __str__(self) -> str:
        where = f"rule {self.rule}, " if self.rule else ""
        return f"{where}{self.field or 'document'}: {self.message} ({self.hint})"


class RulesetError(ValueError):
    """The ruleset can't work; ``problems`` says where and how to mend it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class Problems:
    """Collects problems while a document is read."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._rule: str | None = None

    @contextmanager
    def within(self, rule: str) -> Iterator[None]:
        """Ascribe the problems that are added inside to this rule."""
        self._rule = rule
        try:
            yield
        finally:
            self._rule = None

    def add(self, field: str, message: str, hint: str) -> None:
        """Add a problem of the current rule."""
        self._problems.append(Problem(self._rule, field, message, hint))

    def raise_if_any(self) -> None:
        """Raise `RulesetError` with all problems, if there are any."""
        if self._problems:
            raise RulesetError(tuple(self._problems))
