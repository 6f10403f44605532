"""Queries and commands an Envoy on this machine through its admin interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx

from control_plane.process.admin_address import AdminAddress

ANSWER_S = 5.0
"""How long an answer may take."""
POLL_S = 0.05
"""Between two questions to an Envoy whose state is waited for."""
UNDER_WAY = "http.edge.downstream_rq_active"
"""Envoy's counter of the edge's requests that are not answered to their end."""


class AdminSilent(Exception):
    """Envoy's admin interface does not answer, or answers with what is no answer of Envoy."""


@dataclass(frozen=True, slots=True)
class EnvoyAdmin:
    """The admin interface of an Envoy on this machine."""

    address: AdminAddress

    async def live(self) -> bool:
        """Return whether Envoy serves: whether it is neither starting nor draining.

        Raises:
            AdminSilent: it does not answer.
        """
        with self._read_as_envoys():
            return bool((await self._call("GET", "/server_info")).json()["state"] == "LIVE")

    async def listens_on(self, name: str) -> frozenset[tuple[str, int]]:
        """Return the address and the port of each active listener of this name.

        Raises:
            AdminSilent: it does not answer.
        """
        with self._read_as_envoys():
            document = (await self._call("GET", "/listeners?format=json")).json()
            addresses = [
                listener["local_address"]["socket_address"]
                for listener in document.get("listener_statuses", [])
                if listener["name"] == name
            ]
            return frozenset((one["address"], int(one["port_value"])) for one in addresses)

    async def under_way(self) -> int:
        """Return how many requests of the edge have not been answered to their end.

        Raises:
            AdminSilent: it does not answer.
        """
        return await self.counter(UNDER_WAY)

    async def counter(self, name: str) -> int:
        """Return the value of a counter or gauge; 0 if there is none of this name.

        Raises:
            AdminSilent: it does not answer.
        """
        with self._read_as_envoys():
            stats = (await self._call("GET", f"/stats?filter=^{name}$")).text
            return sum(int(line.rpartition(":")[2]) for line in stats.splitlines())

    async def stop_accepting(self) -> None:
        """Close the listening ports, and each connection after its present request.

        Raises:
            AdminSilent: it does not answer.
        """
        await self._call("POST", "/healthcheck/fail")
        await self._call("POST", "/drain_listeners")

    async def drain(self, bound_s: float) -> int:
        """Accept no new request, and wait for those under way.

        Args:
            bound_s: How long to wait at most, in seconds.

        Returns:
            How many requests are still under way then.

        Raises:
            AdminSilent: it does not answer.
        """
        await self.stop_accepting()
        loop = asyncio.get_running_loop()
        end = loop.time() + bound_s
        while True:
            unanswered = await self.under_way()
            if not unanswered or loop.time() >= end:
                return unanswered
            await asyncio.sleep(POLL_S)

    @contextmanager
    def _read_as_envoys(self) -> Iterator[None]:
        """Raise `AdminSilent` for an answer that is not one of Envoy's."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            text = f"{self.address} does not answer as Envoy does: {error!r}"
            raise AdminSilent(text) from error

    async def _call(self, method: str, path: str) -> httpx.Response:
        try:
            async with self._client() as client, asyncio.timeout(ANSWER_S):
                response = await client.request(method, path)
                return response.raise_for_status()
        except (httpx.HTTPError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise AdminSilent(f"Envoy's admin interface at {self.address}: {text}") from error

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        async with self.address.client(ANSWER_S) as client:
            yield client
