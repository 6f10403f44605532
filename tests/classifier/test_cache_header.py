"""What the edge is told about keeping an answer, and what it tells about its cache."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.server import Running
from control_plane.topology.values import ClaimKey, ClaimSpec
from tests.support.conditions import until
from tests.support.plane import add_cell, asking, plane_with, samples

CHAIN = {"claims": [{"route": "${a}"}, {"redirect_route": "${a}"}]}
RULES: list[dict[str, Any]] = [
    {"id": "lot", "match": {"type": "path", "regexValue": "^/lot$"}, "action": "proxy"},
    {"id": "post", "match": {"type": "method", "regexValue": "^POST$"}, "action": "proxy", "proxy": {"cell": "cell-2"}},
    {"id": "first", "match": {"type": "path", "regexValue": "^/first$"}, "action": "classify", "classify": {"type": "FIRST_CELL"}},
    {"id": "chain", "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"}, "action": "classify", "classify": CHAIN},
    {"id": "tenant", "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"}, "action": "classify", "classify": {"claims": [{"tenant": "${a}"}]}},
]  # fmt: skip

Plane = tuple[Running, httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with plane_with(tmp_path) as (running, api):
        topology = running.topology
        for number in (1, 2):
            add_cell(topology, f"cell-{number}")
        topology.rulesets.put("r", json.dumps({"name": "r", "rules": RULES}), actor="t")
        topology.rulesets.activate("r", 1, actor="t")
        made = [("route", "a"), ("redirect_route", "b"), ("tenant", "c")]
        topology.claims.claim([ClaimSpec(*key, "cell-2") for key in made], actor="t")
        async with asking(running) as client:
            yield running, api, client


def shards(*keys: tuple[str, str]) -> str:
    return ",".join(map(str, sorted({ClaimKey(*key).shard for key in keys})))


async def test_an_answer_says_what_it_rests_on(plane: Plane) -> None:
    running, _, client = plane
    revision = running.topology.revision()

    async def told(path: str) -> str | None:
        header: str | None = (await client.get(path)).headers.get("x-cellway-cache")
        return header

    chain = [("route", "x"), ("redirect_route", "x")]

    def of(name: str, *, tenant: bool) -> str:
        keys = [(bucket, name) for bucket, _ in chain] + [("tenant", name)] * tenant
        return shards(*keys)

    assert await told("/a") == f"{revision} 60000 {of('a', tenant=False)}"
    assert await told("/b") == f"{revision} 1000 {of('b', tenant=False)}"
    assert await told("/c") == f"{revision} 1000 {of('c', tenant=True)}"
    assert await told("/nobody") == f"{revision} 1000 {of('nobody', tenant=True)}"
    assert await told("/first") == f"{revision} 60000 -"
    assert await told("/lot") is None
    running.topology.claims.claim([ClaimSpec("tenant", "d", "cell-1")], actor="t")
    assert (await told("/a") or "").startswith(f"{revision + 1} ")


async def test_an_edges_cache_gets_all_of_it_in_one_header(plane: Plane) -> None:
    running, _, client = plane
    revision = running.topology.revision()

    async def told(path: str, known: str) -> str | None:
        answer = await client.get(path, headers={"x-cellway-known": known})
        assert answer.status_code == 204
        assert set(answer.headers) == {"x-cellway-answer"}
        header: str | None = answer.headers["x-cellway-answer"]
        return header

    shard_list = shards(("route", "a"), ("redirect_route", "a"))
    for known in ("-", "1", str(revision)):
        assert await told("/a", known) == f"cell-2 chain {revision} 60000 {shard_list}"
        assert await told("/first", known) == f"cell-1 first {revision} 60000 -"
        assert re.fullmatch("cell-[12] lot", await told("/lot", known) or "")


async def test_the_edge_names_the_clients_method_and_no_rule_sees_internal_headers(
    plane: Plane,
) -> None:
    _, _, client = plane
    answered = await client.get("/a", headers={"x-cellway-method": "POST"})
    assert answered.headers["x-cellway-rule"] == "post"
    answered = await client.get("/a", headers={"x-cellway-method": "no method"})
    assert answered.headers["x-cellway-rule"] == "chain"


async def test_the_edges_counts_add_up_and_nonsense_is_counted_as_such(plane: Plane) -> None:
    _, api, client = plane
    for counts in (
        "hits=1 misses=2 stale=3 evictions=4 entries=5",
        "hits=10 entries=7 misdirected=6",
        "hits=1 misses=",
        "hits=1e9",
        "hits=9999999999",
        "x" * 1000,
    ):
        await client.get("/a", headers={"x-cellway-edge-counts": counts})
    edge = (("cache", "edge"),)

    async def there() -> bool:
        found = await samples(api)
        return [
            found.get((f"cellway_cache_{what}", edge))
            for what in (
                *("hits_total", "misses_total", "stale_total", "evictions_total", "entries"),
                "misdirected_total",
            )
        ] == [11, 2, 3, 4, 7, 6] and found["cellway_edge_counts_malformed_total", ()] == 4

    await until(there)
