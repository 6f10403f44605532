"""A control plane in the test's own event loop, without an Envoy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from control_plane.names import EDGE_SECRET_HEADER
from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState, SequenceRange
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint

RULESET = '{"name": "r", "rules": [{"id": "all", "action": "classify", "classify": {"type": "FIRST_CELL"}}]}'
UNNAMED_HEADERS_RULESET = """{"name": "r", "rules": [{"id": "any",
    "match": {"type": "header", "name": "^x-[a-z]+$", "regexValue": "^(?<t>.+)$"},
    "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}]}"""
"""A rule whose headers are named by a regex: which ones an answer depends on can't be listed, so
the edge cache keeps no answer of this ruleset."""


@contextlib.asynccontextmanager
async def plane_with(
    directory: Path, **settings: Any
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """Run a control plane on free ports; yield it and a client of its API."""
    defaults: dict[str, Any] = {
        "database_url": f"sqlite:///{directory}/p.db",
        "api_port": 0,
        "grpc_port": 0,
        "classifier_port": 0,
        "classifier_workers": 0,
        "health_interval_s": 0,
        "data_dir": directory,
    }
    async with running(Settings(**(defaults | settings))) as plane:
        base = f"http://127.0.0.1:{plane.ports.api}"
        async with httpx.AsyncClient(base_url=base, timeout=20, trust_env=False) as client:
            yield plane, client


def edge_secret(topology: Topology) -> dict[str, str]:
    """Return the header by which an edge asks the classifier."""
    return {EDGE_SECRET_HEADER: topology.edge_secrets.read().current}


def edge_metadata(topology: Topology) -> tuple[tuple[str, str], ...]:
    """Return the same as metadata of gRPC."""
    return tuple(edge_secret(topology).items())


def asking(plane: Running) -> httpx.AsyncClient:
    """Return a client that asks the classifier as an edge does."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{plane.ports.classifier}",
        headers=edge_secret(plane.topology),
        trust_env=False,
        timeout=20,
    )


def add_cell(topology: Topology, name: str = "cell-1", **more: Any) -> None:
    spec = CellSpec(
        name,
        f"{name}.example",
        more.pop("endpoints", (Endpoint("127.0.0.1", 1),)),
        state=CellState.ACTIVE,
        **more,
    )
    topology.cells.create(spec, actor="test")


def add_cells(topology: Topology) -> None:
    """Add cells 1 to 3, of which 3 has two ranges, and some claims."""
    for number, ranges in (
        (1, (SequenceRange(1, 10**12 - 1),)),
        (2, ()),
        (3, (SequenceRange(10**12, 11 * 10**11 - 1), SequenceRange(2 * 10**12, 2**62))),
    ):
        topology.cells.create(
            CellSpec(
                f"cell-{number}",
                f"cell-{number}.example.com",
                (Endpoint("127.0.0.1", 443),),
                id=number,
                session_prefix=f"cell-{number}",
                sequence_ranges=ranges,
                state=CellState.ACTIVE,
            ),
            actor="test",
        )
    topology.claims.claim(
        [
            ClaimSpec("route", "gitlab-org", "cell-2"),
            ClaimSpec("username", "ann", "cell-3"),
            ClaimSpec("project_id", "278964", "cell-3"),
            ClaimSpec("pages_unique_domain", "x-1.pages.example", "cell-1"),
        ],
        actor="test",
    )


def route_all(topology: Topology) -> None:
    """Activate a ruleset that sends every request to the first cell."""
    topology.rulesets.put("r", RULESET, actor="test")
    topology.rulesets.activate("r", 1, actor="test")


async def samples(
    client: httpx.AsyncClient,
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all samples of /metrics by name and labels; no series may stand there twice."""
    text = (await client.get("/metrics")).text
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in values, f"{key} is exported twice"
            values[key] = sample.value
    return values
