"""A counter of what the caches report."""

from __future__ import annotations

from collections import Counter


class Counts:
    """What was counted, by cache and kind."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        self.seen[cache, what] += number

    @property
    def errors(self) -> int:
        return self.seen["redis", "errors"]
