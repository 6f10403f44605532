"""Finds an endpoint of a cell that takes connections.

mitmproxy answers a failed connection with a page of its own and status 502, which no addon can
change. The edge answers 503. So the addon tries the endpoint first, on a connection that it closes
again, and goes on to the cell's next endpoint as the edge does.
"""

from __future__ import annotations

import asyncio
import os
import random

from addons.remote import RemoteCell, address_of

CONNECT_TIMEOUT_S = 1.0
"""The edge's own."""
MAX_TRIES = 3
"""The edge's own: the first endpoint, and two more."""


class CellDown(Exception):
    """No endpoint of the cell takes connections."""


async def reachable(cell: RemoteCell) -> str:
    """Return an endpoint of a cell that takes connections.

    Raises:
        CellDown: none of those that were tried does; the text says why the last one did not.
    """
    why = "it has no endpoint"
    for endpoint in shuffled(cell)[:MAX_TRIES]:
        host, port = address_of(endpoint)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            why = f"{endpoint} does not answer"
        except OSError as error:
            why = f"{endpoint}: {os.strerror(error.errno) if error.errno else error}"
        else:
            writer.close()
            return endpoint
    raise CellDown(f"{cell.name} can't be reached ({why})")


def shuffled(cell: RemoteCell) -> list[str]:
    """Return the endpoints of a cell in a random order."""
    return random.sample(cell.endpoints, len(cell.endpoints))
