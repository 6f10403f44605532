"""What is wrong with a ruleset; problems are collected, so that an author sees all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from control_plane.routing.rules.limits import MAX_PROBLEMS, PatternBudget

MAX_TEXT_CHARS = 6000
"""Of a message or a field's name; foreign text stands in both. A whole pattern fits."""


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
    """Collects problems while a document is read, at most `MAX_PROBLEMS`."""

    def __init__(self) -> None:
        self.budget = PatternBudget()
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
        """Add a problem of the current rule; raise `RulesetError` if there are enough."""
        self._problems.append(Problem(self._rule, _cut(field), _cut(message), hint))
        if len(self._problems) >= MAX_PROBLEMS:
            self.raise_if_any()

    def stop(self, field: str, message: str, hint: str) -> NoReturn:
        """Add a problem after which the rest is not read; raise `RulesetError`."""
        self._problems.append(Problem(self._rule, field, message, hint))
        raise RulesetError(tuple(self._problems))

    def raise_if_any(self) -> None:
        """Raise `RulesetError` with all problems, if there are any."""
        if self._problems:
            raise RulesetError(tuple(self._problems))


def _cut(text: str) -> str:
    """Return a text without its middle if it is too long."""
    half = MAX_TEXT_CHARS // 2
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:half]} … {text[-half:]}"
