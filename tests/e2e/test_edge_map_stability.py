"""Everything is dead, and an Envoy restarts: with the module it knows every name, without it serves on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from control_plane.edge_module.build import build
from tests.e2e.agent_edge import Edge, bootstrap_of, running_edge
from tests.e2e.echo_upstream import EchoUpstream
from tests.support.conditions import wait_until

WITH_MAP = {"native": (200, "cell-2"), "ambiguous": (200, "cell-1")}
WITHOUT_MAP = {"native": (200, "cell-2"), "ambiguous": (503, "")}


@pytest.fixture
def cells() -> Iterator[list[EchoUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(EchoUpstream()) for _ in range(2)]


@pytest.fixture
def edge(tmp_path: Path, cells: list[EchoUpstream]) -> Iterator[Edge]:
    with running_edge(tmp_path, cells, build()) as running:
        yield running


def variant(edge: Edge) -> tuple[str | None, str | None]:
    (node,) = edge.plane.api.get("/v1/fleet").json()["items"]
    return node["variant"], node["variant_refused"]


def test_from_the_agents_disk_every_name_is_known_and_an_envoy_without_the_module_serves_too(
    edge: Edge,
) -> None:
    assert variant(edge) == ("module", None)
    saved = "cellway_agent_map_saved_revision"
    wait_until(lambda: edge.agent.metric(saved) >= edge.revision)
    edge.kill_all()
    edge.restart_edge()
    wait_until(lambda: edge.envoy.is_ready())
    wait_until(lambda: edge.served() == WITH_MAP)

    # The file is gone, although the bootstrap still names it: Envoy refuses the saved variant.
    modules = edge.envoy.modules
    edge.envoy.kill()
    edge.envoy.modules = Path("/nonexistent")
    edge.envoy.start()
    wait_until(lambda: edge.envoy.is_ready())
    assert edge.served() == WITHOUT_MAP
    assert "gets the plain configuration" in edge.agent.said()

    # The bootstrap does not name it: Envoy is not even asked.
    edge.envoy.kill()
    edge.envoy.modules = None
    edge.envoy.bootstrap = {**edge.envoy.bootstrap, **bootstrap_of(edge.agent, None)}
    edge.envoy.start()
    wait_until(lambda: edge.envoy.is_ready())
    assert edge.served() == WITHOUT_MAP
    lds = edge.envoy.stats("listener_manager.lds.update_rejected")
    assert sum(lds.values()) == 0

    # The control plane is back: what the agent has worked out is what is published.
    edge.plane.start()
    edge.in_step()
    assert variant(edge) == (None, None)
    assert edge.envoy.stats("listener_manager.listener_modified") in (
        {},
        {"listener_manager.listener_modified": 0},
    )

    # The module is back, too.
    edge.envoy.kill()
    edge.envoy.modules = modules
    edge.envoy.bootstrap = {
        **edge.envoy.bootstrap,
        **bootstrap_of(edge.agent, Path(f"{modules}/x.so")),
    }
    edge.envoy.start()
    edge.in_step()
    wait_until(lambda: edge.served() == WITH_MAP)
    assert variant(edge) == ("module", None)
