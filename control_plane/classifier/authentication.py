"""Tells edges from strangers: an edge shows the secret that it was sent by xDS.

The classifier says who owns what, and believes what it is told of the edges' counts. So it answers
only those who show the secret. The secrets that count are read from the database now and then.
While the database is away, those that were read last go on counting (see `topology.edge_secrets`).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from control_plane.classifier.log_pause import LogPause
from control_plane.topology.edge_secrets import EdgeSecret
from control_plane.topology.values import TopologyError

log = logging.getLogger(__name__)
REREAD_S = 5.0
"""How often the secrets are read again."""
NO_EDGE = "this is no question of an edge: it does not carry the edges' secret"
"""What a stranger is told."""


class Stranger(StrEnum):
    """Why a question is not taken for an edge's."""

    NO_SECRET = "no_secret"  # noqa: S105 - no secret
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - no secret


class StrangerObserver(Protocol):
    """Is told of questions without the secret, for metrics."""

    def stranger(self, why: Stranger, *, answered: bool) -> None:
        """Count a question without a secret that counts, and whether it is answered anyway."""


class Authentication:
    """The secrets that count now, and whether a question needs one. For use in one event loop."""

    def __init__(
        self,
        read: Callable[[], EdgeSecret],
        observer: StrangerObserver,
        *,
        demanded: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the secrets. Blocks.

        Args:
            read: Reads them from the database.
            observer: Is told of strangers.
            demanded: Whether a question without a secret is refused, as soon as the edges have had
                time to get one.
            clock: Counts seconds.

        Raises:
            TopologyError: the database can't be read.
        """
        self._read = read
        self._observer = observer
        self._demanded = demanded
        self._clock = clock
        self._pause = LogPause(clock)
        self._accepted: tuple[bytes, ...] = ()
        self._grace_until = float("-inf")
        self._take(read())
        if self.answers_strangers:
            log.warning("questions are answered without a secret, too: %s", self._until())

    def _until(self) -> str:
        if not self._demanded:
            return "classifier_secret_demanded is off"
        return f"edges have {self._grace_until - self._clock():.0f} s left to get it"

    @property
    def answers_strangers(self) -> bool:
        """Whether questions without a secret are answered now."""
        return not self._demanded or self._clock() < self._grace_until

    def is_secret(self, shown: bytes) -> bool:
        """Return whether this is a secret that counts. How long that takes tells nothing of it."""
        equal = [hmac.compare_digest(shown, one) for one in self._accepted]
        return any(equal)

    def admits(self, shown: bytes | None, peer: str) -> bool:
        """Return whether to answer a question whose secret, if any, does not count."""
        why = Stranger.NO_SECRET if shown is None else Stranger.WRONG_SECRET
        answered = self.answers_strangers
        self._observer.stranger(why, answered=answered)
        if not answered:
            self._log(why, peer)
        return answered

    def _log(self, why: Stranger, peer: str) -> None:
        left_out = self._pause.left_out()
        if left_out is None:
            return
        text = "a question of %s is refused: %s (%d more since the last line)"
        shown = why.value.replace("_", " ")
        log.warning(text, peer or "a local program", shown, left_out)

    def _take(self, secret: EdgeSecret) -> bool:
        """Take what was read; return whether other secrets count now."""
        self._grace_until = self._clock() + secret.grace_s if secret.grace_s else float("-inf")
        accepted = tuple(one.encode("ascii") for one in secret.accepted)
        changed, self._accepted = accepted != self._accepted, accepted
        return changed

    async def _read_in_thread(self) -> EdgeSecret:
        """Read the secrets. Even if it is cancelled, wait for the thread: it has a connection."""
        reading = asyncio.create_task(asyncio.to_thread(self._read))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait({reading})
            raise

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Read the secrets again every `REREAD_S`, until cancelled.

        ``on_change`` is called when other ones count.
        """
        while True:
            await asyncio.sleep(REREAD_S)
            try:
                secret = await self._read_in_thread()
            except TopologyError:
                continue  # Those who look claims up say that the database is away.
            except Exception:
                log.exception("the edges' secrets can't be read again: a bug of ours")
                continue
            if self._take(secret):
                on_change()
