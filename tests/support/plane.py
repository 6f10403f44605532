"""A control plane in the test's own event loop, without an Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint

WAIT_S = 30.0
RULESET = '{"name": "r", "rules": [{"id": "all", "action": "classify", "classify": {"type": "FIRST_CELL"}}]}'


@contextlib.asynccontextmanager
async def plane_with(
    directory: Path, **given: Any
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """A running control plane on free ports, and a client of its API."""
    defaults: dict[str, Any] = {
        "database_url": f"sqlite:///{directory}/p.db",
        "api_port": 0,
        "grpc_port": 0,
        "classifier_port": 0,
        "classifier_workers": 0,
        "health_interval_s": 0,
        "data_dir": directory,
    }
    async with running(Settings(**(defaults | given))) as plane:
        base = f"http://127.0.0.1:{plane.ports.api}"
        async with httpx.AsyncClient(base_url=base, timeout=20, trust_env=False) as client:
            yield plane, client


def add_cell(topology: Topology, name: str = "cell-1", **more: Any) -> None:
    spec = CellSpec(
        name,
        f"{name}.example",
        more.pop("endpoints", (Endpoint("127.0.0.1", 1),)),
        state=CellState.ACTIVE,
        **more,
    )
    topology.cells.create(spec, actor="test")


def route_all(topology: Topology) -> None:
    """Every request to the first cell."""
    topology.rulesets.put("r", RULESET, actor="test")
    topology.rulesets.activate("r", 1, actor="test")


async def samples(
    client: httpx.AsyncClient,
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Everything at /metrics: value by name and labels; no series may be there twice."""
    text = (await client.get("/metrics")).text
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is exported twice"
            found[key] = sample.value
    return found


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition (which may be a coroutine) holds."""
    async with asyncio.timeout(WAIT_S):
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.02)
