"""Those who wait for the fleet: until a node is connected, or until all nodes run a revision.

Whoever waits for a revision looks at each session once. From then on only the sessions that still
lack it are kept, and an acknowledgement costs one removal for each waiter, however many nodes there
are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from control_plane.xds.session.session import Session


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for a revision, and the sessions that do not run it yet."""

    revision: int
    behind: set[Session]
    refused: bool = False
    """Whether one of them refuses what it was sent of it."""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def stop_waiting_for(self, session: Session) -> None:
        self.behind.discard(session)
        if not self.behind:
            self.done.set()

    def look_for_refusal(self, session: Session) -> None:
        """Wait no longer for anybody if a session that is waited for refuses the revision."""
        if session in self.behind and session.revision >= self.revision and session.refusal():
            self.refused = True
            self.done.set()


class RevisionWaiters:
    """All who wait for revisions."""

    def __init__(self) -> None:
        self._waiters: set[_Waiter] = set()

    def joined(self, session: Session) -> None:
        """Wait for a new session, too."""
        for waiter in self._waiters:
            if session.acked_revision < waiter.revision:
                waiter.behind.add(session)

    def heard(self, session: Session) -> None:
        """Wake those whose revision this session was the last to lack, or refuses."""
        for waiter in self._waiters:
            if session.acked_revision >= waiter.revision:
                waiter.stop_waiting_for(session)
            else:
                waiter.look_for_refusal(session)

    def left(self, session: Session) -> None:
        """Wait no longer for a session that has ended."""
        for waiter in self._waiters:
            waiter.stop_waiting_for(session)

    async def wait(self, revision: int, sessions: Iterable[Session], timeout_s: float) -> bool:
        """Wait until all sessions, and those that join meanwhile, run a revision, or one refuses.

        Args:
            revision: The revision.
            sessions: The open ones.
            timeout_s: How long to wait at most.

        Returns:
            Whether they run it; False after the time-out, and where one has refused it.
        """
        behind = {session for session in sessions if session.acked_revision < revision}
        if not behind:
            return True
        waiter = _Waiter(revision, behind)
        self._waiters.add(waiter)
        for session in behind:
            waiter.look_for_refusal(session)
        try:
            async with asyncio.timeout(timeout_s):
                # Again if a node has come meanwhile.
                while waiter.behind and not waiter.refused:
                    waiter.done.clear()
                    await waiter.done.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return not waiter.refused


class JoinWaiters:
    """All who wait for a node to be connected."""

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = {}

    def joined(self, node_id: str) -> None:
        """Wake those who wait for this node."""
        for event in self._events.pop(node_id, ()):
            event.set()

    async def wait(self, node_id: str, timeout_s: float) -> bool:
        """Wait until this node is connected; return False after the time-out."""
        event = asyncio.Event()
        self._events.setdefault(node_id, []).append(event)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            waiting = self._events.get(node_id, [])
            if event in waiting:
                waiting.remove(event)
            if not waiting:
                self._events.pop(node_id, None)
        return True
