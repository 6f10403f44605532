"""Asks a cell whether it is up, by a request to its endpoints for its health check's path."""

from __future__ import annotations

import asyncio
import logging
import ssl

import h11

from control_plane.jobs.cell_certificates import connect
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.endpoint import Endpoint

log = logging.getLogger(__name__)
TIMEOUT_S = 1.0
"""How long an endpoint may take to answer, with its connection."""
MAX_HEADER_BYTES = 1 << 20
READ_BYTES = 1 << 16
MAX_PROBES = 64
"""Probes at once."""


class CellProbe:
    """Probes cells, a bounded number of endpoints at once. For one event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_PROBES)

    async def is_up(self, cell: Cell) -> bool:
        """Return whether one of the cell's endpoints answers with a status of 2xx."""
        for endpoint in cell.endpoints:
            async with self._slots:
                if await _answers(endpoint, cell):
                    return True
        return False


async def _answers(endpoint: Endpoint, cell: Cell) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect(endpoint, cell)
            try:
                status = await _exchange(reader, writer, cell)
            finally:
                writer.close()
    except ssl.SSLError as error:
        log.warning("%s at %s is not trusted: %s", cell.name, endpoint, error)
        return False
    except (OSError, TimeoutError, ValueError, h11.ProtocolError):
        # ValueError: a host or server name that can't be encoded. Names were not always checked.
        return False
    return 200 <= status < 300


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cell: Cell) -> int:
    """Send the request and return the final status, 0 if the cell closes without an answer.

    It waits for the whole answer, as Envoy's health check does.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
    headers = [("host", cell.address), ("user-agent", "cellway-health"), ("connection", "close")]
    request = h11.Request(method="GET", target=cell.health_check_path or "/", headers=headers)
    for part in (request, h11.EndOfMessage()):
        writer.write(connection.send(part) or b"")
    await writer.drain()
    status = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif not isinstance(event, h11.InformationalResponse | h11.Data):
            return status
