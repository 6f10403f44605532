"""Resolves a cell's endpoint for a probe, and refuses addresses that no cell may have.

Whoever controls a name chooses what it resolves to. So each address is judged, and the connection
goes to an address that was judged: a second resolution could answer something else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor

from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import Address, EndpointPolicy

MAX_ADDRESSES = 16
"""Addresses of one name that are tried. Envoy tries all; a probe has a second."""
_RESOLVERS = ThreadPoolExecutor(32, thread_name_prefix="cell-names")
"""Resolves names. Servers of DNS that don't answer hold up these threads and no others."""


class EndpointDenied(Exception):
    """No cell may have this address; the message says why."""


async def addresses_of(endpoint: Endpoint, policy: EndpointPolicy) -> list[str]:
    """Return the IP addresses of an endpoint, at most `MAX_ADDRESSES`, all of them allowed.

    Raises:
        EndpointDenied: one of them is not.
        OSError: the name has no address.
    """
    try:
        found: list[Address] = [ipaddress.ip_address(endpoint.host)]
    except ValueError:
        found = await _resolved(endpoint.host)
    for address in found:
        if why := policy.denial_of(address, endpoint.port):
            raise EndpointDenied(f"{address} {why}")
    return [str(address) for address in found[:MAX_ADDRESSES]]


async def _resolved(host: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_RESOLVERS, _lookup, host)


def _lookup(host: str) -> list[Address]:
    """Return the addresses of a name, each once; raise `OSError` if it has none. It blocks."""
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A link-local address has the zone of the interface, which the policy doesn't depend on.
    texts = dict.fromkeys(str(to[0]).partition("%")[0] for *_, to in infos)
    return [ipaddress.ip_address(text) for text in texts]
