"""Asks a cell whether it is up, by a request to its endpoints for its health check's path.

A cell is not trusted: its operator may declare nonsense, and its endpoints may answer anything. So
a probe has bounds of time and bytes, and whatever goes wrong in it says only that this one cell is
not up. Only one probe at a time reads a piece of an answer, once in an iteration of the event loop:
many endpoints that send what is slow to read don't stall the loop together.
"""

from __future__ import annotations

import asyncio
import logging
import ssl

import h11

from control_plane.jobs.cell_certificates import connect
from control_plane.jobs.endpoint_addresses import EndpointDenied
from control_plane.jobs.probe_answer import MAX_PIECE_BYTES, AnswerTooLarge, ProbeAnswer
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy

log = logging.getLogger(__name__)
TIMEOUT_S = 1.0
"""How long an endpoint may take to answer, with its connection."""
MAX_PROBES = 256
"""Probes at once."""
MAX_TEXT = 500
"""Characters of an error that are logged: it may quote what the endpoint sent."""
MAX_WARNED = 10_000
"""Cells whose last warning is remembered."""


class CellProbe:
    """Probes cells, a bounded number of endpoints at once. For one event loop."""

    def __init__(self, policy: EndpointPolicy | None = None) -> None:
        """Make probes that connect only where a policy lets cells be."""
        self._policy = policy or EndpointPolicy()
        self._slots = asyncio.Semaphore(MAX_PROBES)
        self._turn = asyncio.Lock()
        self._warned: dict[tuple[str, Endpoint], str] = {}
        """What was logged last of an endpoint that has not answered since."""

    async def is_up(self, cell: Cell) -> bool:
        """Return whether one of the cell's endpoints answers with a status of 2xx.

        The first one is asked first, since it nearly always answers. Then all others are asked at
        once, so that silent ones don't keep the rest waiting.
        """
        if not cell.endpoints:
            return False
        first, *others = cell.endpoints
        if await self._in_turn(first, cell):
            return True
        probes = [asyncio.create_task(self._in_turn(each, cell)) for each in others]
        try:
            for probe in asyncio.as_completed(probes):
                if await probe:
                    return True
            return False
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)

    async def _in_turn(self, endpoint: Endpoint, cell: Cell) -> bool:
        async with self._slots:
            return await self._answers(endpoint, cell)

    async def _answers(self, endpoint: Endpoint, cell: Cell) -> bool:
        """Return whether an endpoint answers with 2xx; whatever is wrong with it, it does not."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._status(endpoint, cell)
        except ssl.SSLError as error:
            self._warn(endpoint, cell, f"is not trusted: {error}")
            return False
        except EndpointDenied as error:
            self._warn(endpoint, cell, f"is not probed: {error}")
            return False
        except (OSError, TimeoutError, h11.RemoteProtocolError, AnswerTooLarge):
            return False
        except Exception as error:  # noqa: BLE001 - one cell's probe must not end the others'
            self._warn(endpoint, cell, f"can't be probed: {error!r}")
            return False
        self._warned.pop((cell.name, endpoint), None)
        return 200 <= status < 300

    def _warn(self, endpoint: Endpoint, cell: Cell, text: str) -> None:
        """Log what is wrong with an endpoint, once until it is something else."""
        text = text[:MAX_TEXT].encode("unicode_escape").decode()
        key = (cell.name, endpoint)
        if self._warned.get(key) == text:
            return
        if len(self._warned) >= MAX_WARNED:
            self._warned.clear()
        self._warned[key] = text
        log.warning("%s at %s %s", cell.name, endpoint, text)

    async def _status(self, endpoint: Endpoint, cell: Cell) -> int:
        """Send the request and return the final status, 0 if there is no answer."""
        answer = ProbeAnswer(cell.address, cell.health_check_path or "/")
        reader, writer = await connect(endpoint, cell, self._policy)
        try:
            writer.write(answer.request)
            await writer.drain()
            while not await self._is_complete(answer, await reader.read(MAX_PIECE_BYTES)):
                pass
        except BaseException:
            # An endpoint that misbehaves is not asked to close in an orderly way.
            writer.transport.abort()
            raise
        writer.close()
        return answer.status

    async def _is_complete(self, answer: ProbeAnswer, piece: bytes) -> bool:
        async with self._turn:
            await asyncio.sleep(0)
            return answer.feed(piece)
