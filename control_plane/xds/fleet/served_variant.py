"""Which variant of the configuration one node gets, and when it falls back to the plain one.

A node says in its first request what it can run, and that may be wrong: the file of a module is
missing, is cut off, or is made for another Envoy. Two things tell:

- The node refuses a resource that only its variant has. It gets the plain variant within the same
  step, so that it is never without routes for longer than one answer takes.
- Envoy ends while it loads the file, again and again. `MAX_UNANSWERED` streams of the node that end
  one after another, before it has answered what only its variant has, count as a refusal.

A node that starts anew is tried again, because its file may have been mended: after a refusal at
once, after endings only when `PAUSE_S` have passed.

    edge-1 boots     gets "module"   NACK "failed to load"     falls back: "cellway:edge: failed …"
    edge-1 reconnects                                          stays plain
    edge-1 boots     gets "module"   ACK                       has its variant
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from control_plane.xds.variants import PLAIN

MAX_UNANSWERED = 3
"""So many streams in a row may end before the node has answered what only its variant has."""
PAUSE_S = 3600.0
"""How long a node that ended so often is not tried again."""


@dataclass(slots=True)
class ServedVariant:
    """The variant of one node, over all of its streams."""

    chosen: str = PLAIN
    """What the node itself asks for."""
    refused: str = ""
    """Why it gets the plain variant instead, mostly in its own words; empty: it does not."""
    clock: Callable[[], float] = time.monotonic
    unanswered: int = 0
    """How many streams in a row have ended unanswered."""
    paused_until: float = 0.0

    @property
    def name(self) -> str:
        """The variant that the node gets."""
        return PLAIN if self.refused else self.chosen

    def came(self, chosen: str, *, booting: bool) -> None:
        """Record that a stream of the node has begun.

        Args:
            chosen: The variant that the node asks for.
            booting: Whether the node has said that it has nothing yet.
        """
        if chosen != self.chosen:
            self.chosen, self.unanswered, self.paused_until, self.refused = chosen, 0, 0.0, ""
        elif booting and self.clock() >= self.paused_until:
            self.refused = ""

    def fall_back(self, words: str) -> None:
        """Serve the plain variant from now on.

        Args:
            words: Why; they are shown to operators.
        """
        self.refused = words

    def answered(self) -> None:
        """Record that the node runs its variant."""
        self.unanswered = 0

    def left_unanswered(self) -> bool:
        """Record a stream that ended while the node owed an answer about its variant.

        Returns:
            Whether the node falls back with that.
        """
        self.unanswered += 1
        if self.unanswered < MAX_UNANSWERED or self.refused:
            return False
        self.unanswered = 0
        self.paused_until = self.clock() + PAUSE_S
        self.refused = (
            f"the connection ended {MAX_UNANSWERED} times before it was answered: "
            "Envoy may end while it loads the module's file"
        )
        return True
