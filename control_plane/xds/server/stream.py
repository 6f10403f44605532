"""One open xDS stream: a session, a queue of what it is to be sent, and the task that sends it.

An idle stream costs one task, which waits for the client. A session is stepped without waiting, and
never has more than one unanswered response of a type, so the queue is bounded by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from control_plane.names import NODE_NAME
from control_plane.xds.server.revision_probe import Newest, RevisionUnknown
from control_plane.xds.server.transport import MAX_SENT_BYTES
from control_plane.xds.session.delta import DeltaSession, delta_bytes
from control_plane.xds.session.session import GATE_TIMEOUT_S, ProtocolError
from control_plane.xds.session.sotw import SotwSession, sotw_bytes
from control_plane.xds.session.subscription import Response

if TYPE_CHECKING:
    from control_plane.xds.server.server import XdsServer

CONFIRM_RETRY_S = 1.0
LAST_WRITE_S = 1.0
"""How long a write may still take when the client has broken the protocol."""
MAX_LOGGED = 100
"""Error texts of one client that are logged until it is up to date again."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what strangers can make us hold."""

    streams: int = 10_000
    names_per_request: int = 100_000
    response_bytes: int = MAX_SENT_BYTES
    hello_timeout_s: float = 30.0
    """How long a stream may take to say who it is."""
    gate_timeout_s: float = GATE_TIMEOUT_S
    """How long one type may hold back the next (a cluster that never warms, a lost answer)."""
    confirm_timeout_s: float = 5.0
    """How long a node that has nothing waits for proof that the snapshot is not an old one."""


class ResponseTooLarge(Exception):
    """A response is over `Limits.response_bytes`; the cache should have refused it before."""


class Stream:
    """One open stream. Its methods but `run` never wait."""

    def __init__(
        self,
        server: XdsServer,
        session: DeltaSession | SotwSession,
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
        first: Any = None,
    ) -> None:
        self._server = server
        self._first = first
        self._session = session
        self._context = context
        self._implied_type = implied_type
        self._to_bytes: Callable[[Response], bytes] = (
            delta_bytes if isinstance(session, DeltaSession) else sotw_bytes
        )
        self._group = ""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._queue: deque[Response] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        """The session's deadline that the timer keeps."""
        self._confirming: asyncio.Task[None] | None = None
        self._confirmed = asyncio.Event()
        self._floor: int | None = None
        """The revision that the cache must have reached before this node is sent anything."""
        self._logged_nacks: set[tuple[str, str]] = set()
        """Types and error texts since the client was last up to date."""
        self._logged_at = 0
        """The revision that the client had then."""
        self.node_id: str | None = None

    async def run(self) -> None:
        """Serve until the client leaves or `end` is called.

        Raises:
            ProtocolError: the client broke the protocol, or did not say who it is in time.
            ResponseTooLarge: see there.
        """
        limit_s = self._server.limits.hello_timeout_s
        self._timer = self._loop.call_later(limit_s, self._silent, limit_s)
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait({reader, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
            else:
                reader.result()
        except ProtocolError:
            await self._finish_sending()
            raise
        finally:
            self._disarm()
            tasks = [task for task in (reader, self._sender, self._confirming) if task is not None]
            for task in tasks:
                task.cancel()
            # First what must not be left out: gRPC may cancel us (again) where we wait.
            if self.node_id is not None:
                self._server.fleet.disconnected(self.node_id, self._session)
            if not self._ended.done():
                self._ended.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish_sending(self) -> None:
        """Let a write end that has begun: gRPC can't send a status meanwhile."""
        self._queue.clear()
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=LAST_WRITE_S)

    def end(self, error: BaseException | None = None) -> None:
        """End the stream: well, or with an error."""
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def wake(self) -> None:
        """There is a newer snapshot."""
        if self.node_id is not None:
            self._guarded(self._take_snapshot)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step in a loop over all streams: one that fails ends this stream only."""
        try:
            step()
        except Exception as error:
            log.exception("%s: its stream has failed", self.node_id)
            self.end(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure ends the stream."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)

    def _take_snapshot(self) -> None:
        started = time.perf_counter()
        snapshot = self._server.cache.get(self._group)
        responses = self._session.on_snapshot(snapshot)
        if self._floor is not None and snapshot.revision >= self._floor:
            self._floor = None
            self._confirmed.set()
            responses += self._session.confirmed()
        self._send(responses, started)
        self._report()

    async def _read(self) -> None:
        """Handle requests until the client closes its side, and answer them all."""
        if self._first is not None:
            self._handle(self._first)
        # Cheaper than iterating, which is a generator around this.
        while (request := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            self._handle(request)
        if self._confirming is not None:
            # Until then nothing is sent.
            await asyncio.wait({self._confirming}, timeout=self._server.limits.confirm_timeout_s)
        if self._sender is not None:
            await asyncio.wait({self._sender})

    def _handle(self, request: Any) -> None:
        self._check(request)
        if self.node_id is None:
            self._identify(request.node)
        self._send(self._session.on_request(request))
        self._report()

    def _send(self, responses: Sequence[Response], started: float | None = None) -> None:
        """Queue responses; ``started`` is when a push of a new snapshot to this node began."""
        if responses:
            self._queue.extend(responses)
            if self._sender is None:
                self._sender = self._spawn(self._drain(started))
        self._arm()

    async def _drain(self, started: float | None) -> None:
        try:
            while self._queue:
                await self._context.write(self._payload(self._queue.popleft()))
        finally:
            self._sender = None
        if started is not None:
            self._server.fleet.pushed(time.perf_counter() - started)

    def _payload(self, response: Response) -> bytes:
        payload = self._to_bytes(response)
        if len(payload) > self._server.limits.response_bytes:
            log.error("%s: a response of %d bytes is too large", self.node_id, len(payload))
            raise ResponseTooLarge(f"a response of {len(payload)} bytes is over the limit")
        self._server.sent_resource_bytes += sum(len(one.body) for one in response.resources)
        return payload

    def _arm(self) -> None:
        """Have the session's next deadline kept."""
        wake_at = self._session.wake_at
        if wake_at == self._armed_for:
            return
        self._disarm()
        if wake_at is not None:
            self._armed_for = wake_at
            self._timer = self._loop.call_later(
                max(0.0, wake_at - time.monotonic()), self._guarded, self._on_time
            )

    def _disarm(self) -> None:
        self._armed_for = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = self._armed_for = None
        ungated = self._session.ungated
        responses = self._session.on_time()
        if self._session.ungated and not ungated:
            log.warning("%s: no answer in time; going on", self.node_id)
        self._send(responses)
        self._report()

    def _silent(self, limit_s: float) -> None:
        self.end(ProtocolError(f"no request with a node came in {limit_s:g} s"))

    @property
    def shrunk(self) -> str:
        """Why this node is held back, if it would lose most of what it has."""
        return self._session.shrunk

    async def _confirm(self, newest: Newest) -> None:
        """Learn how new the snapshot must be: as new as all that was committed when the node came.

        What another replica told it before was committed before (docs/adr/0040).
        """
        late = self._loop.call_later(
            self._server.limits.confirm_timeout_s, self._guarded, self._confirm_late
        )
        try:
            while self._floor is None:
                try:
                    self._floor = await newest.revision()
                except RevisionUnknown as error:
                    log.warning("%s waits: no newest revision: %s", self.node_id, error)
                    await asyncio.sleep(CONFIRM_RETRY_S)
            self.wake()
            await self._confirmed.wait()
        finally:
            late.cancel()

    def _confirm_late(self) -> None:
        log.warning("%s: revision %s is not here in time", self.node_id, self._floor or "unknown")
        self._send(self._session.confirmation_late())
        self._report()

    def _check(self, request: Any) -> None:
        if self._implied_type:
            request.type_url = request.type_url or self._implied_type
        if not request.type_url:
            raise ProtocolError("type_url is missing")
        names = getattr(request, "resource_names_subscribe", None)
        count = len(request.resource_names if names is None else names)
        if count > self._server.limits.names_per_request:
            raise ProtocolError(f"{count} names in one request")
        if self.node_id is not None and request.HasField("node"):
            given = request.node
            if given.id not in {"", self.node_id} or given.cluster not in {"", self._group}:
                raise ProtocolError(
                    f"this stream is that of {self.node_id!r} in {self._group!r}, "
                    f"not of {given.id!r} in {given.cluster!r}"
                )

    def _identify(self, node: Any) -> None:
        if not NODE_NAME.match(node.id) or not NODE_NAME.match(node.cluster or "-"):
            raise ProtocolError("node.id must be 1 to 256 visible ASCII characters; cluster too")
        version = node.user_agent_build_version.version
        text = f"{version.major_number}.{version.minor_number}.{version.patch}"
        self._group = node.cluster
        self._session.on_snapshot(self._server.cache.get(self._group))
        self._session.doubt(self._server.fleet.doubts(node.id))
        self._server.fleet.connected(node.id, node.cluster, text, self._session)
        self.node_id = node.id
        self._session.guards_shrink = not self._server.force_shrink
        if self._server.newest is not None:
            self._session.await_confirmation()
            self._confirming = self._spawn(self._confirm(self._server.newest))
        self._disarm()

    def _report(self) -> None:
        if self.node_id is not None:
            for type_url, error in self._session.nacks:
                self._log_nack(type_url, error)
            self._server.fleet.heard(self.node_id, self._session)

    def _log_nack(self, type_url: str, error: str) -> None:
        """Log what a client refuses once, not each time that it is sent again."""
        if self._session.acked_revision != self._logged_at:
            self._logged_at = self._session.acked_revision
            self._logged_nacks.clear()
        if (type_url, error) not in self._logged_nacks and len(self._logged_nacks) < MAX_LOGGED:
            self._logged_nacks.add((type_url, error))
            log.error("%s NACKed %s: %s", self.node_id, type_url, error)
