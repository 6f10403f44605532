"""Any ruleset may follow any other: the fleet runs the newer one, and says so."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.plane import UNNAMED_HEADERS_RULESET
from tests.support.system import RULESETS, System

OURS = {path.stem: json.loads(path.read_text()) for path in RULESETS.glob("*.json")}
ALL: dict[str, dict[str, Any]] = {**OURS, "unnamed": json.loads(UNNAMED_HEADERS_RULESET)}


@pytest.fixture(
    scope="module",
    params=[{}, {"edge_cache_entries": 0}, {"classifier_protocol": "grpc"}],
    ids=lambda settings: "-".join(settings) or "default",
)
def system(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[System]:
    """A system without debug headers, as in production."""
    directory: Path = tmp_path_factory.mktemp("rulesets")
    with System(directory, cells=2, debug_networks=(), **request.param) as running:
        running.add_cells()
        yield running


def test_each_is_acknowledged_after_each_other(system: System) -> None:
    for before, after in itertools.permutations(ALL, 2):
        for name in (before, after):
            system.use_ruleset(ALL[name])
            (node,) = system.api.get("/v1/fleet").json()["items"]
            assert node["state"] == "SYNCED", (before, after, node)


@pytest.mark.parametrize("name", ALL)
def test_each_is_acknowledged_by_an_envoy_that_has_run_nothing_else(
    system: System, name: str
) -> None:
    system.use_ruleset(ALL[name])
    system.restart_envoy()
    system.in_step()
