"""The mitmproxy addon: its options, and real flows through a real mitmdump to real cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mitmproxy import exceptions
from mitmproxy.io import FlowReader
from mitmproxy.test import taddons, tflow

from addons.cellway import METADATA_KEY, CellwayRouter
from tests.addons.mitmdump import mitmdump
from tests.support.system import System


@pytest.mark.parametrize(
    "option",
    [
        {"cellway_mode": "guess"},
        {"cellway_server": "localhost"},
        {"cellway_timeout_ms": 0},
        {"cellway_token": ""},
        {"cellway_token": "a b"},
        {"cellway_token": "\xe4"},
    ],
)
def test_bad_options_are_refused(option: dict[str, Any]) -> None:
    addon = CellwayRouter()
    with taddons.context(addon) as context, pytest.raises(exceptions.OptionsError):
        context.configure(addon, **option)


async def test_without_a_server_a_flow_is_refused_not_guessed() -> None:
    addon = CellwayRouter()
    with taddons.context(addon) as context:
        context.configure(addon, cellway_server="http://127.0.0.1:1")
        flow = tflow.tflow()
        flow.request.headers["Host"] = "gitlab.example.com"
        await addon.requestheaders(flow)
        assert flow.response is not None
        assert flow.response.status_code == 503
        assert flow.response.headers["retry-after"] == "5"
        assert flow.metadata[METADATA_KEY]["cell"] is None
        await addon.done()


async def test_changed_options_leave_no_connection_open() -> None:
    addon = CellwayRouter()
    with taddons.context(addon) as context:
        context.configure(addon, cellway_server="http://127.0.0.1:1")
        flow = tflow.tflow()
        flow.request.headers["Host"] = "gitlab.example.com"
        await addon.requestheaders(flow.copy())
        client = addon._client
        assert client is not None
        context.configure(addon, cellway_timeout_ms=100)
        await addon.requestheaders(flow.copy())
        await addon.done()
    assert client.is_closed


async def test_a_flow_that_is_answered_already_is_left_alone() -> None:
    addon = CellwayRouter()
    with taddons.context(addon):
        flow = tflow.tflow(resp=True)
        await addon.requestheaders(flow)
        assert METADATA_KEY not in flow.metadata


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("addon")) as running:
        running.add_cells()
        running.claim("cell-1", "route:foo")
        running.claim("cell-3", "username:bob")
        running.use_ruleset("gitlab")
        yield running


def test_real_flows_go_where_envoy_would_send_them(system: System, tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    asked = [
        ("/foo/bar", {}, "cell-1"),
        ("/users/bob", {}, "cell-3"),
        ("/-/x", {"cookie": "_gitlab_session=cell-2-a"}, "cell-2"),
        ("/foo/bar", {"cookie": "force-cell=cell-2"}, "cell-2"),
        ("/%66oo/x", {"x-cellway-cell": "cell-2"}, "cell-1"),
        ("/explore", {}, None),
        ("/users/...json", {}, None),
    ]
    edge_url = f"http://127.0.0.1:{system.edge_port}"
    with (
        mitmdump(system, "reverse:http://127.0.0.1:1", tmp_path, "-w", str(flows)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as proxy,
        httpx.Client(base_url=edge_url, trust_env=False, timeout=20) as edge,
    ):
        for path, headers, cell in asked:
            sent = headers | {"host": "gitlab.example.com"}
            answer, edges = (
                proxy.get(path, headers=sent).json(),
                edge.get(path, headers=sent).json(),
            )
            assert answer["cell"] == (cell or answer["cell"])
            assert edges["cell"] == (cell or edges["cell"])
            assert answer["path"] == edges["path"]
            assert ["host", "gitlab.example.com"] in answer["headers"]
            assert "x-cellway-cell" not in dict(answer["headers"])
        assert proxy.get("/a%00b").status_code == 400
    with flows.open("rb") as file:
        recorded = [flow for flow in FlowReader(file).stream() if flow.metadata.get(METADATA_KEY)]
    by_path = {flow.request.path: flow for flow in recorded if "host" in flow.request.headers}
    decision = by_path["/users/bob"].metadata[METADATA_KEY]
    assert (decision["cell"], decision["rule"]) == ("cell-3", "user")
    assert decision["trace"][-1][1] == "decided"
    assert by_path["/users/bob"].comment.startswith("cell-3 by user: ")
