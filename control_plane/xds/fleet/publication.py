"""Which revision went out to the nodes last, and why a newer one did not."""

from __future__ import annotations

import asyncio


class Publication:
    """The newest published revision, for those who wait for one. For one event loop."""

    def __init__(self) -> None:
        self.revision = 0
        self._refused: tuple[int, str] = (0, "")
        self._waiting: set[asyncio.Event] = set()

    def published(self, revision: int) -> None:
        """Record that a revision went out."""
        self.revision = max(self.revision, revision)
        self._wake()

    def refused(self, revision: int, why: str) -> None:
        """Record that a revision is kept from the nodes, and why."""
        self._refused = (revision, why)
        self._wake()

    @property
    def refusal(self) -> tuple[int, str] | None:
        """The revision that is kept from the nodes, and why; None if none is."""
        return self._refused if self._refused[0] > self.revision else None

    def why_not(self, revision: int) -> str:
        """Return why a revision is kept from the nodes; empty if nothing is known to keep it."""
        return self._refused[1] if self.revision < revision <= self._refused[0] else ""

    async def wait(self, revision: int, timeout_s: float) -> bool:
        """Wait until a revision is published or refused; return whether it is published."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(timeout_s):
                while self.revision < revision and not self.why_not(revision):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(changed)
        return self.revision >= revision

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
