"""How long to wait before a thing that keeps failing is started again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RestartDelay:
    """The waits before one thing's restarts.

    The first delay is ``first_s``. Each further one is twice as long, up to ``longest_s`` (or
    ``first_s``, if that is longer). After a life of ``calm_s`` it begins anew with ``first_s``.
    """

    first_s: float
    longest_s: float
    calm_s: float
    _next_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._next_s = self.first_s

    def after(self, lived_s: float) -> float:
        """Return how many seconds to wait after a life of ``lived_s`` seconds."""
        delay_s = self.first_s if lived_s >= self.calm_s else self._next_s
        self._next_s = min(delay_s * 2, max(self.first_s, self.longest_s))
        return delay_s
