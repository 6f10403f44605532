"""An edge is answered by the ruleset that it routes by, be it older or newer than the classifier's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import grpc
import httpx
import pytest
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.past_rulesets import (
    MAX_RULESETS,
    SEARCH_AGAIN_S,
    PastRulesets,
    UnknownRuleset,
)
from control_plane.routing.model import ClaimKey, Request, ToCell
from control_plane.routing.rules.parse import parse
from control_plane.topology import Topology
from control_plane.topology.lookup.seen import Seen
from control_plane.topology.values import Ruleset
from tests.support.plane import add_cell, asking, edge_metadata, plane_with

REQUEST = Request("GET", b"h", b"/", ())
ABSENT = "0" * 16


def rules(cell: str) -> str:
    rule = {"id": "all", "action": "proxy", "proxy": {"cell": cell}}
    return json.dumps({"name": "r", "rules": [rule]})


def digest(cell: str) -> str:
    return parse(rules(cell)).digest


def activate(topology: Topology, cell: str) -> None:
    version = topology.rulesets.put("r", rules(cell), actor="t").value.version
    topology.rulesets.activate("r", version, actor="t")


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/p.db")
    for number in (1, 2):
        add_cell(made, f"cell-{number}")
    activate(made, "cell-1")
    yield made
    made.close()


def decided(decider: Decider, by: str | None) -> str:
    outcome = decider.decide(REQUEST, by).decision.outcome
    assert isinstance(outcome, ToCell)
    return outcome.cell


def test_it_decides_by_the_ruleset_of_the_question(topology: Topology) -> None:
    old = Decider(topology)
    activate(topology, "cell-2")
    fresh = Decider(topology)
    for decider in (old, fresh):
        for cell in ("cell-1", "cell-2", "cell-1"):
            assert decided(decider, digest(cell)) == cell
        assert decided(decider, None) == "cell-2", "the active one"
        with pytest.raises(UnknownRuleset):
            decider.decide(REQUEST, ABSENT)
        decider.close()


async def test_it_does_without_blocking(topology: Topology) -> None:
    class Lookup:
        async def owners_of(self, keys: Sequence[ClaimKey], at_least: int | None) -> Seen:
            found = topology.claim_lookup()
            try:
                return found.owners_of(keys)
            finally:
                found.close()

    lookup = cast("CachedLookup", Lookup())
    old = Decider(topology)
    activate(topology, "cell-2")
    for decider in (old, Decider(topology)):
        for cell in ("cell-2", "cell-1", "cell-2"):
            verdict = await decider.decide_async(lookup, REQUEST, None, digest(cell))
            outcome = verdict.decision.outcome
            assert isinstance(outcome, ToCell)
            assert outcome.cell == cell
            assert verdict.revision == topology.revision()
        with pytest.raises(UnknownRuleset):
            await decider.decide_async(lookup, REQUEST, None, ABSENT)
        decider.close()


def test_what_is_absent_is_not_looked_for_all_the_time(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = topology.rulesets.versions

    def counting() -> list[Ruleset]:
        reads.append(topology.revision())
        return real()

    monkeypatch.setattr(topology.rulesets, "versions", counting)
    now = 0.0
    past = PastRulesets(topology, lambda: now)
    for _ in range(3):
        with pytest.raises(UnknownRuleset):
            past.read(ABSENT)
    assert len(reads) == 1
    now = SEARCH_AGAIN_S
    with pytest.raises(UnknownRuleset):
        past.read(ABSENT)
    assert len(reads) == 2


def test_few_are_kept(topology: Topology) -> None:
    past = PastRulesets(topology)
    cells = [f"cell-{number}" for number in range(3 * MAX_RULESETS)]
    for cell in cells:
        past.add(parse(rules(cell)))
    assert [cell for cell in cells if past.get(digest(cell))] == cells[-MAX_RULESETS:]


async def test_over_http_and_grpc(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, _):
        for number in (1, 2):
            add_cell(plane.topology, f"cell-{number}")
        for cell in ("cell-1", "cell-2"):
            activate(plane.topology, cell)
        async with asking(plane) as client:

            async def asked(known: str) -> httpx.Response:
                return await client.get("/", headers={"x-cellway-known": known})

            for cell in ("cell-1", "cell-2"):
                for known in (f"1 {digest(cell)}", f"- {digest(cell)}"):
                    answer = (await asked(known)).headers["x-cellway-answer"]
                    assert answer.startswith(f"{cell} all ")
            for known in ("1", "-"):
                assert (await asked(known)).headers["x-cellway-answer"].startswith("cell-2 ")
            refused = await asked(f"1 {ABSENT}")
            assert refused.status_code == 503
            assert (
                refused.headers["x-cellway-error"]
                == "there is no ruleset with the digest that the edge names"
            )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel:
            stub = external_auth_pb2_grpc.AuthorizationStub(channel)

            async def checked(by: str | None) -> str:
                question = external_auth_pb2.CheckRequest()
                question.attributes.request.http.method = "GET"
                question.attributes.request.http.path = "/"
                if by is not None:
                    question.attributes.context_extensions["ruleset"] = by
                answer = await stub.Check(question, metadata=edge_metadata(plane.topology))
                return str(answer.ok_response.headers[0].header.value)

            assert [await checked(by) for by in (digest("cell-1"), digest("cell-2"), None)] == [
                "cell-1",
                "cell-2",
                "cell-2",
            ]
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await checked(ABSENT)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
