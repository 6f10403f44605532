"""Queries and commands an Envoy on this machine through its admin port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

ANSWER_S = 5.0
"""How long an answer may take."""
POLL_S = 0.05
"""Between two questions to an Envoy whose state is waited for."""
UNDER_WAY = "http.edge.downstream_rq_active"
"""Envoy's counter of the edge's requests that are not answered to their end."""


class AdminSilent(Exception):
    """Envoy's admin port does not answer, or answers with an error."""


@dataclass(frozen=True, slots=True)
class EnvoyAdmin:
    """The admin port of an Envoy on this machine."""

    port: int

    async def live(self) -> bool:
        """Return whether Envoy serves: whether it is neither starting nor draining.

        Raises:
            AdminSilent: it does not answer.
        """
        return bool((await self._call("GET", "/server_info")).json()["state"] == "LIVE")

    async def listens_on(self) -> frozenset[tuple[str, int]]:
        """Return the address and the port of each active listener.

        Raises:
            AdminSilent: it does not answer.
        """
        document = (await self._call("GET", "/listeners?format=json")).json()
        addresses = [
            listener["local_address"]["socket_address"]
            for listener in document.get("listener_statuses", [])
        ]
        return frozenset((address["address"], int(address["port_value"])) for address in addresses)

    async def under_way(self) -> int:
        """Return how many requests of the edge have not been answered to their end.

        Raises:
            AdminSilent: it does not answer.
        """
        stats = (await self._call("GET", f"/stats?filter=^{UNDER_WAY}$")).text
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

    async def _call(self, method: str, path: str) -> httpx.Response:
        try:
            async with self._client() as client:
                response = await client.request(method, path)
                return response.raise_for_status()
        except httpx.HTTPError as error:
            raise AdminSilent(f"Envoy's admin port {self.port}: {error}") from error

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        base = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=base, timeout=ANSWER_S, trust_env=False) as client:
            yield client
