"""The whole system for tests of changes, with or without an agent beside Envoy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from control_plane.compiler.socket_address import SocketAddress
from tests.support.agent_process import AgentProcess
from tests.support.system import System


class ChangingSystem(System):
    """A `System`; with ``agent`` its Envoy gets its configuration from `cellway envoy agent`."""

    def __init__(self, directory: Path, cells: int = 0, *, agent: bool, **settings: Any) -> None:
        super().__init__(directory, cells, **settings)
        self._with_agent = agent
        self._agent: AgentProcess | None = None

    async def _xds_at(self) -> SocketAddress:
        if not self._with_agent:
            return await super()._xds_at()
        if self._agent is None:
            self._agent = AgentProcess(self._directory, self.plane.ports.grpc)
            await asyncio.to_thread(self._agent.start)
        return self._agent.socket

    def restart_agent(self) -> None:
        """Kill the agent and start it again; its snapshots stay."""
        if self._agent is not None:
            self._agent.kill()
            self._agent.start()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._agent is not None:
            self._agent.__exit__(*error)
