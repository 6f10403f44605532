"""A request as a log tells of it, reduced to what rules look at."""

from __future__ import annotations

from typing import NamedTuple

ABSENT = frozenset({"", "-"})
"""What logs write for a value that is not there."""


class Unreadable(ValueError):
    """A line, or an entry, tells of no request; the message says why."""


class Recorded(NamedTuple):
    """A recorded request. Two that are equal are decided alike, at one revision."""

    method: str
    target: bytes
    """The path; with its query only if a rule may look at that."""
    authority: bytes
    headers: tuple[tuple[str, bytes], ...]
    """Those that a rule may look at, with lower-case names."""

    def as_dict(self) -> dict[str, str]:
        """Return what people need to know the request by. Headers hold secrets, and stay out."""
        parts = (self.method.encode("utf-8", "replace"), self.authority, self.target)
        method, host, path = (part.decode("utf-8", "replace") for part in parts)
        return {"method": method, "host": host, "path": path}
