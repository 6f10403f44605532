"""A resource that a client has refused, and when it is sent again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RETRY_MIN_S = 1.0
"""A refused resource is not sent again sooner than this, whatever happens meanwhile."""
RETRY_MAX_S = 30.0
"""A refused resource is sent again at least this often, because its cause may have passed."""
NEVER = math.inf
_MAX_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that a client has refused when nothing else of the response was uncertain.

    Times are in seconds of the session's clock.
    """

    version: str
    """The version that was refused; empty for a removal."""
    error: str
    """The client's error text."""
    tries: int
    """How often this version was sent and refused."""
    tried_at: float
    retry_at: float

    @classmethod
    def after(
        cls, previous: Refusal | None, version: str, error: str, now: float, *, retry: bool
    ) -> Refusal:
        """Return the refusal of a version; the pause doubles each time that it is refused.

        Args:
            previous: The refusal of this name before, if there is one.
            version: The version that was refused; empty for a removal.
            error: The client's error text.
            now: When it was refused.
            retry: Whether to send this version again later.
        """
        tries = 1
        if previous is not None and previous.version == version:
            tries = previous.tries + 1
        pause_s = NEVER
        if retry:
            pause_s = min(RETRY_MIN_S * 2 ** min(tries - 1, _MAX_DOUBLINGS), RETRY_MAX_S)
        return cls(version, error, tries, now, now + pause_s)

    def brought_forward(self) -> Refusal:
        """Return the same refusal, due as soon as `RETRY_MIN_S` allows."""
        if self.retry_at == NEVER:
            return self
        return replace(self, retry_at=min(self.retry_at, self.tried_at + RETRY_MIN_S))
