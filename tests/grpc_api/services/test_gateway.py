"""``POST /v1/classify``: grpc-gateway's JSON, its errors, and how long an answer may be kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from control_plane.api.app import create_app
from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.metrics import gateway_counter
from control_plane.grpc_api.server.pool import CallPool
from control_plane.grpc_api.services.gateway import CacheTimes, Gateway, read_request
from control_plane.topology import Topology
from control_plane.topology.values.errors import Invalid
from control_plane.xds.fleet.fleet import Fleet


async def no_metrics() -> bytes:
    return b""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def rest(prepared: Path, registry: CollectorRegistry) -> AsyncIterator[httpx.AsyncClient]:
    topology = Topology.open(f"sqlite:///{prepared}")
    live = LiveDirectories(topology)
    app = create_app(
        topology,
        Fleet(),
        metrics=no_metrics,
        alarm=lambda: None,
        gateway=Gateway(live, CacheTimes(60, 7), gateway_counter(registry)),
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client
    live.close()
    topology.close()


def to(cell: int, matched: Any = None) -> dict[str, Any]:
    address = f"cell-{cell}.example.com"
    return {"action": "PROXY", "proxy": {"address": address}, "matchedClaim": matched}


@pytest.mark.parametrize(
    ("request_json", "answer"),
    [
        ({"type": "FIRST_CELL"}, to(1)),
        ({"type": "SESSION_PREFIX", "value": "cell-2"}, to(2)),
        ({"type": 3, "value": "3"}, to(3)),
        ({"claims": [{"route": "nobody"}, {"username": "ann"}]}, to(3, {"username": "ann"})),
        ({"claims": [{"projectId": "278964"}]}, to(3, {"projectId": "278964"})),
        ({"claims": [{"project_id": 278964}]}, to(3, {"projectId": "278964"})),
        ({"claim": {"route": "gitlab-org"}}, to(2, {"route": "gitlab-org"})),
        ({"claims": None, "type": "FIRST_CELL", "targetType": "WEB"}, to(1)),
    ],
)
async def test_answers(rest: httpx.AsyncClient, request_json: Any, answer: dict[str, Any]) -> None:
    got = await rest.post("/v1/classify", json=request_json)
    assert (got.status_code, got.json()) == (200, answer)
    assert got.headers["cache-control"] == "max-age=60"
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        (b'{"claims": [{"redirectRoute": "no"}]}', 404, 5, "redirect_route:no"),
        (b'{"type": "CELL_ID", "value": "99"}', 404, 5, "99"),
        (b"", 400, 3, "invalid type UNSPECIFIED"),
        (b"{}", 400, 3, "invalid type UNSPECIFIED"),
        (b'{"type": "REGISTRY"}', 400, 3, "invalid type 'REGISTRY'"),
        (b'{"type": 17}', 400, 3, "invalid type 17"),
        (b'{"claims": [{"route": "a"}, {"jiraClientKey": "b"}]}', 400, 3, "claims[1]: claim type 'jiraClientKey'"),
        (b'{"claims": [{"route": "a", "username": "b"}]}', 400, 3, "oneof"),
        (b'{"claims": [{}]}', 400, 3, "claims[0]: no claim is set"),
        (b'{"claims": {"route": "a"}}', 400, 3, "claims"),
        (b'{"claims": [{"projectId": "x"}]}', 400, 3, "projectId"),
        (b'{"claims": [{"projectId": 1e400}]}', 400, 3, "body"),
        (b'{"value": 7}', 400, 3, "value"),
        (b"[]", 400, 3, "no JSON object"),
        (b"{", 400, 3, "no JSON"),
        (b"\xff", 400, 3, "no JSON"),
        (b"[" * 100_000, 400, 3, "no JSON"),
        (b"1" * 5000, 400, 3, "no JSON"),
        (b'{"type": ' + b"9" * 30 + b"}", 400, 3, "type"),
        (b'{"type": 1e999}', 400, 3, "infinity"),
    ],
)  # fmt: skip
async def test_errors_are_google_rpc_status(
    rest: httpx.AsyncClient, body: bytes, status: int, code: int, text: str
) -> None:
    got = await rest.post("/v1/classify", content=body)
    assert got.status_code == status
    assert got.headers["cache-control"] == ("max-age=7" if status == 404 else "no-store")
    document = got.json()
    assert set(document) == {"code", "message", "details"}
    assert (document["code"], document["details"]) == (code, [])
    assert text in document["message"]


async def test_answers_are_counted(rest: httpx.AsyncClient, registry: CollectorRegistry) -> None:
    await rest.post("/v1/classify", json={"type": "FIRST_CELL"})
    await rest.post("/v1/classify", json={})
    for code in ("OK", "INVALID_ARGUMENT"):
        assert registry.get_sample_value("cellway_classify_rest_total", {"code": code}) == 1


async def test_look_ups_may_run_in_threads(prepared: Path, registry: CollectorRegistry) -> None:
    topology = Topology.open(f"sqlite:///{prepared}")
    live, work = LiveDirectories(topology), CallPool(threads=2, max_calls=2)
    gateway = Gateway(live, CacheTimes(60, 0), gateway_counter(registry), work)
    ask = b'{"claims": [{"username": "ann"}]}'
    answers = await asyncio.gather(*(gateway.classify(ask) for _ in range(2)))
    assert [answer.status for answer in answers] == [200, 200]
    await work.close()
    closed = await gateway.classify(ask)
    assert (closed.status, json.loads(closed.body)["code"]) == (503, 14)
    live.close()
    topology.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "value", "claim", "claims", "route", "projectId", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_whatever_json_comes_it_is_read_or_refused(document: Any) -> None:
    try:
        read_request(json.dumps(document).encode())
    except Invalid as error:
        assert str(error)
