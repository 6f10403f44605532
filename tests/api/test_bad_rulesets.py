"""Rulesets that can't work: they are refused when written, and what is stored can be shown."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.topology import Topology
from tests.support.plane import RULESET, plane_with

NESTED = "^" + "(" * 950 + "a" + ")" * 950
JSON = {"content-type": "application/json"}


def rules(pattern: str) -> str:
    rule = {"id": "a", "match": {"type": "path", "regexValue": pattern}, "action": "proxy"}
    return json.dumps({"rules": [rule]})


UNUSABLE = {
    "nested": rules(NESTED),
    "program": rules("[a-z]{1,1000}" * 60),
    "NaN": '{"rules": [], "version": NaN}',
    "Infinity": '{"rules": [], "version": -Infinity}',
    "1e999": '{"rules": [], "version": 1e999}',
    "surrogate": rules("\ud800"),
    "surrogate in a key": '{"rules": [], "\\udfff": 1}',
    "deep": '{"rules": ' + "[" * 500 + "]" * 500 + "}",
    "deeper": '{"rules": ' + "[" * 5000 + "]" * 5000 + "}",
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_what_cannot_work_is_refused_wherever_it_is_sent(tmp_path: Path, name: str) -> None:
    document = UNUSABLE[name]
    whole = '{"cells": [], "rulesets": {"r": ' + document + "}}"
    question = '{"url": "http://h/", "ruleset": ' + document + "}"
    async with plane_with(tmp_path) as (_, api):
        for method, path, body in (
            ("PUT", "/v1/rulesets/r", document),
            ("PUT", "/v1/topology", whole),
            ("POST", "/v1/explain", question),
        ):
            answer = await api.request(method, path, content=body, headers=JSON)
            assert answer.status_code in {400, 422}, (path, answer.text[:500])
        lint = await api.post("/v1/rulesets/lint", content=document, headers=JSON)
        assert lint.status_code in {400, 422} or lint.json()["findings"][0]["severity"] == "error"
        assert (await api.get("/v1/rulesets")).json()["items"] == []


@pytest.mark.parametrize("name", UNUSABLE)
async def test_what_is_stored_and_cannot_work_ends_nothing_and_can_be_mended(
    tmp_path: Path, name: str
) -> None:
    """It is stored by somebody else, and the server starts after that."""
    with contextlib.closing(Topology.open(f"sqlite:///{tmp_path}/p.db")) as topology:
        topology.rulesets.put("bad", UNUSABLE[name], actor="t")
        topology.rulesets.activate("bad", 1, actor="t")
    async with plane_with(tmp_path) as (_, api):
        ready = await api.get("/readyz")
        assert ready.status_code == 503
        assert "the active ruleset bad@1 can't be compiled" in ready.json()["alarm"]
        assert await metric(api, "cellway_publication_refused") == 1
        for path in ("/v1/rulesets/active", "/v1/rulesets/bad", "/v1/topology", "/v1/rulesets"):
            assert (await api.get(path)).status_code == 200, path
        again = await api.post("/v1/rulesets/bad/activate", json={"version": 1})
        assert again.status_code == 422
        mended: dict[str, Any] = {"rulesets": {"bad": json.loads(RULESET)}, "active": "bad"}
        answer = await api.put("/v1/topology", json=mended, headers={"if-match": "*"})
        assert answer.status_code == 200, answer.text
        waited = {"wait": "true", "timeout": "20s"}
        await api.put("/v1/topology", json=mended, headers={"if-match": "*"}, params=waited)
        await ready_again(api)


async def metric(api: httpx.AsyncClient, name: str) -> float:
    lines = (await api.get("/metrics")).text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(name)))


async def ready_again(api: httpx.AsyncClient) -> None:
    for _ in range(200):
        if (await api.get("/readyz")).status_code == 200:
            return
    raise AssertionError((await api.get("/readyz")).text)
