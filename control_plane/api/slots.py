"""Bounds how many long requests run at once: event streams, and writes that wait for the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from control_plane.api.auth import Caller
from control_plane.api.problem import ProblemError


class Slots:
    """Slots for one kind of request. Only the event loop's thread takes them."""

    def __init__(
        self, kind: str, *, total: int, per_caller: int, refused: Callable[[str], None]
    ) -> None:
        """Make slots.

        Args:
            kind: What runs in a slot, in the plural, for the messages.
            total: How many run at once.
            per_caller: How many of them may be one caller's.
            refused: Is told the code of each refusal.
        """
        self._kind = kind
        self._total = total
        self._per_caller = per_caller
        self._refused = refused
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken.total()

    @contextmanager
    def one(self, caller: Caller) -> Iterator[None]:
        """Hold a slot for a caller while the block runs.

        Raises:
            ProblemError: (429) The caller has too many. (503) All callers together have too many.
        """
        self._check(caller)
        self._taken[caller.id] += 1
        try:
            yield
        finally:
            self._taken[caller.id] -= 1
            if not self._taken[caller.id]:
                del self._taken[caller.id]

    def _check(self, caller: Caller) -> None:
        if self._taken[caller.id] >= self._per_caller:
            status, who, limit = 429, f"{caller.name} has", self._per_caller
        elif self.taken >= self._total:
            status, who, limit = 503, "this server has", self._total
        else:
            return
        code = f"too-many-{self._kind}"
        self._refused(code)
        detail = f"{who} {limit} {self._kind} open, which is the limit: end one, or try again later"
        raise ProblemError(status, detail, code=code, limit=limit)
