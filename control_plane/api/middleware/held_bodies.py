"""Counts the bytes of all bodies that are held at once, and of each caller's.

A body is held from its first byte until its request is answered. 150 bodies of 2 MiB that never end
would be half a gigabyte. So there is a bound on all together, of which one caller gets a quarter:
what one leaves half sent does not keep others from writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MAX_HELD_BYTES = 64 << 20
MAX_HELD_BYTES_OF_CALLER = 16 << 20


class TooManyBytes(Exception):
    """The bodies under way are too large together; the message says whose."""


class HeldBodies:
    """The bytes of the bodies that one API holds. For one event loop."""

    def __init__(self) -> None:
        self._by_caller: Counter[str] = Counter()

    @contextmanager
    def of(self, caller: str) -> Iterator[HeldBody]:
        """Hold a body for as long as the block runs."""
        body = HeldBody(self._by_caller, caller)
        try:
            yield body
        finally:
            self._by_caller[caller] -= body.size
            if not self._by_caller[caller]:
                del self._by_caller[caller]


class HeldBody:
    """One body, as far as it has come."""

    def __init__(self, by_caller: Counter[str], caller: str) -> None:
        self._by_caller = by_caller
        self._caller = caller
        self.size = 0

    def at_least(self, size: int) -> None:
        """Count the body as one of at least so many bytes.

        What a head announces is counted at once: who comes first is read to the end, and who comes
        too late learns it before sending all.

        Raises:
            TooManyBytes: The bound is reached, of this caller or of all.
        """
        if size <= self.size:
            return
        self._by_caller[self._caller] += size - self.size
        self.size = size
        if self._by_caller[self._caller] > MAX_HELD_BYTES_OF_CALLER:
            raise TooManyBytes(f"more than {MAX_HELD_BYTES_OF_CALLER} bytes of bodies of yours")
        if self._by_caller.total() > MAX_HELD_BYTES:
            raise TooManyBytes(f"more than {MAX_HELD_BYTES} bytes of bodies")
