"""Which streams an agent takes: those of its one Envoy, and no more at once than that can have.

An agent's snapshots are one Envoy's, and what the agent passes on counts as that Envoy's word. So
the node id is fixed: by `--node-id`, or by the first Envoy that has come, whose id then stays in
the file `NODE_FILE` of the agent's directory.

Only the user who runs the agent reaches its Unix socket, so a second stream there is one of an
Envoy that takes over from its predecessor (hot restart): it is served, and logged. Everybody on the
machine reaches a TCP port. There a second stream is refused as long as the first is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.names import NODE_NAME
from control_plane.process.private_files import private_file

log = logging.getLogger(__name__)
NODE_FILE = "node"
STREAMS_ON_SOCKET = 2
STREAMS_ON_PORT = 1
HELLO_S = 10.0
"""How long a stream may take until it says whose it is."""
ENDING_S = 1.0
"""How long a new stream waits for one that is ending, before it is refused."""


class NotAdmitted(Exception):
    """A stream is not taken; code and text are what the client is told."""

    def __init__(self, reason: str, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """For the metric."""
        self.code = code


class Admission:
    """The one Envoy of an agent, and its open streams."""

    def __init__(
        self, directory: Path, node_id: str | None, most_streams: int, metrics: AgentMetrics
    ) -> None:
        """Read which Envoy the directory belongs to.

        Args:
            directory: The agent's; it exists.
            node_id: Who is served, whatever the directory says; None: as the directory says.
            most_streams: How many streams may be open at once.
            metrics: Count what is not admitted.

        Raises:
            OSError: The file can't be read.
        """
        self._file = directory / NODE_FILE
        self._most_streams = most_streams
        self._metrics = metrics
        self._open = 0
        self._closed = asyncio.Condition()
        known = self._file.read_text().strip() if self._file.exists() else ""
        self.node_id = node_id or (known if NODE_NAME.match(known) else "")
        """Empty until an Envoy has come."""
        if self.node_id != known and self.node_id:
            self._keep()

    async def first_of(self, requests: AsyncIterator[Any]) -> Any:
        """Return a stream's first request, or None if the client has closed the stream.

        Raises:
            NotAdmitted: It is another Envoy's, or does not say whose it is in time.
        """
        try:
            async with asyncio.timeout(HELLO_S):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            text = f"no request came within {HELLO_S:g} s"
            raise self._refusal("silent", grpc.StatusCode.INVALID_ARGUMENT, text) from None
        if first is not None:
            self._check(first.node.id)
        return first

    def _check(self, node_id: str) -> None:
        if not NODE_NAME.match(node_id):
            text = "node.id must be 1 to 256 visible ASCII characters"
            raise self._refusal("node", grpc.StatusCode.INVALID_ARGUMENT, text)
        if not self.node_id:
            self.node_id = node_id
            self._keep()
        if node_id != self.node_id:
            text = (
                f"this is {self.node_id!r}'s agent, not {node_id!r}'s: an agent keeps the snapshots"
                " of one Envoy; start another, with its directory, or name the Envoy with --node-id"
            )
            raise self._refusal("node", grpc.StatusCode.INVALID_ARGUMENT, text)

    def is_another(self, node_id: str) -> bool:
        """Return whether this is the id of another Envoy than the agent's."""
        return bool(node_id and self.node_id and node_id != self.node_id)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place among the open streams.

        Raises:
            NotAdmitted: None is free.
        """
        try:
            async with asyncio.timeout(ENDING_S), self._closed:
                await self._closed.wait_for(lambda: self._open < self._most_streams)
                self._open += 1
        except TimeoutError:
            text = f"{self._open} stream(s) of {self.node_id!r} are open, and stay so"
            raise self._refusal("second", grpc.StatusCode.ALREADY_EXISTS, text) from None
        if self._open > 1:
            text = "%r has a second stream, as an Envoy in a hot restart has: both are served"
            log.warning(text, self.node_id)
        try:
            yield
        finally:
            self._open -= 1
            await asyncio.shield(self._tell_closed())

    async def _tell_closed(self) -> None:
        async with self._closed:
            self._closed.notify_all()

    def _refusal(self, reason: str, code: grpc.StatusCode, text: str) -> NotAdmitted:
        self._metrics.refused.labels(reason).inc()
        log.warning("a stream is refused: %s", text)
        return NotAdmitted(reason, code, text)

    def _keep(self) -> None:
        """Write the id down. If the disk is full, it is known until the agent ends."""
        try:
            private_file(self._file)
            self._file.write_text(f"{self.node_id}\n")
        except OSError as error:
            log.error("%s can't be written: %s", self._file, error)  # noqa: TRY400
