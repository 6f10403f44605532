"""The mitmproxy addon: its options, and real flows through a real mitmdump to real cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.io import FlowReader
from mitmproxy.test import taddons, tflow

from addons.cellway import METADATA_KEY, CellwayRouter
from tests.addons.mitmdump import logging_mitmdump, mitmdump, server_of
from tests.support.ports import unused_port
from tests.support.system import System


async def test_without_a_server_a_flow_is_refused_not_guessed() -> None:
    addon = CellwayRouter()
    with taddons.context(Proxyserver(), addon) as context:
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
    with taddons.context(Proxyserver(), addon) as context:
        context.configure(addon, cellway_server="http://127.0.0.1:1")
        flow = tflow.tflow()
        flow.request.headers["Host"] = "gitlab.example.com"
        await addon.requestheaders(flow.copy())
        client = addon._api._http
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
            assert dict(answer["headers"])["x-cellway-cell"] == answer["cell"]
        assert proxy.get("/a%00b").status_code == 400
    with flows.open("rb") as file:
        recorded = [flow for flow in FlowReader(file).stream() if flow.metadata.get(METADATA_KEY)]
    by_path = {flow.request.path: flow for flow in recorded if "host" in flow.request.headers}
    decision = by_path["/users/bob"].metadata[METADATA_KEY]
    assert (decision["cell"], decision["rule"]) == ("cell-3", "user")
    assert decision["trace"][-1][1] == "decided"
    assert by_path["/users/bob"].comment.startswith("cell-3 by user: ")


def test_each_decision_is_a_line_of_the_log(system: System, tmp_path: Path) -> None:
    system.add_cell("cell-9", unused_port())
    system.claim("cell-9", "route:dark")
    mode = "reverse:http://127.0.0.1:1"
    with (
        logging_mitmdump(mode, tmp_path, *server_of(system)) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as proxy,
        httpx.Client(base_url=f"http://127.0.0.1:{system.edge_port}", trust_env=False) as edge,
    ):
        host = {"host": "gitlab.example.com"}
        proxy.get("/users/bob?private_token=secret", headers=host)
        port = system.cell_ports["cell-3"]
        said = f"GET gitlab.example.com/users/bob?… -> cell-3 at 127.0.0.1:{port} by user: "
        assert said + "username:bob is claimed by cell-3 (" in running.line("/users/bob")
        answers = [client.get("/dark/x", headers=host) for client in (proxy, edge)]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert ["retry-after" in answer.headers for answer in answers] == [False, False]
        assert "cell-9 can't be reached" in answers[0].json()["title"]
        assert "-> 503, as cell-9 can't be reached" in running.line("/dark/x")
        assert proxy.get("/a%00b", headers=host).status_code == 400
        assert "-> 400: the edge refuses it" in running.line("%00")
        assert "set keep_host_header=true, connection_strategy=lazy" in running.line(
            "which it needs"
        )
        assert "routes by http://127.0.0.1:" in running.line("routes")
        log = running.output.read_text()
        assert "HTTP Request" not in log
        assert "Traceback" not in log


def test_what_the_ruleset_refuses_gets_the_edges_status(system: System, tmp_path: Path) -> None:
    rule = {"id": "t", "match": {"type": "path", "regexValue": "^/t/(?<t>[^/]+)"}}
    classify = {"action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}
    system.use_ruleset({"name": "refusing", "rules": [rule | classify | {"on_unknown": 429}]})
    system.in_step()
    streaming = ("--set", "stream_large_bodies=1k", *server_of(system))
    with logging_mitmdump("reverse:http://127.0.0.1:1", tmp_path, *streaming) as running:
        for body in (b"", b"x" * 1000):
            answers = [
                httpx.post(f"http://127.0.0.1:{at}/t/nobody", content=body, trust_env=False)
                for at in (running.port, system.edge_port)
            ]
            assert [answer.status_code for answer in answers] == [429, 429]
            for name in ("content-type", "retry-after"):
                assert answers[0].headers[name] == answers[1].headers[name]
        for large in (b"x" * 200_000, iter([b"x" * 200_000])):
            with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
                url = f"http://127.0.0.1:{running.port}/t/large"
                httpx.post(url, content=large, trust_env=False)
        assert "-> 429 by t" in running.line("/t/large")
        assert "Traceback" not in running.output.read_text()
