"""A write with an Idempotency-Key is done once, over two replicas of the API and either database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest

from control_plane.api.middleware import idempotency as once_api
from control_plane.topology import Topology
from control_plane.topology.storage import idempotency
from control_plane.topology.storage.answers import Answers
from control_plane.topology.storage.idempotency import Once, Remembered
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint
from tests.api.replica import replica

ROUNDS = 20
ALLOT = "/v1/cells/cell-1/sequences"
"""Done twice it would give two ranges."""


@dataclass(frozen=True, slots=True)
class Replicas:
    topologies: tuple[Topology, Topology]
    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]

    @property
    def mark(self) -> int:
        """The highest id allotted."""
        return self.topologies[0].sequences.high_water_mark().mark


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(replica(url)) for _ in range(2)]
        spec = CellSpec("cell-1", "c.example", (Endpoint("10.0.0.1", 1),), state=CellState.ACTIVE)
        one[0].cells.create(spec, actor="test")
        yield Replicas((one[0], two[0]), (one[1], two[1]))


async def test_the_same_request_to_two_replicas_at_once(replicas: Replicas) -> None:
    for number in range(ROUNDS):
        headers = {"idempotency-key": f"k{number}"}
        one, two = await asyncio.gather(
            *(client.post(ALLOT, json={"size": 10}, headers=headers) for client in replicas.clients)
        )
        assert (one.status_code, two.status_code) == (201, 201)
        assert one.json() == two.json()
        replayed = [answer.headers.get("idempotency-replayed") for answer in (one, two)]
        assert sorted(map(str, replayed)) == ["None", "true"]
    assert replicas.mark == ROUNDS * 10, "each was done once"


async def test_other_requests_under_one_key_at_once(replicas: Replicas) -> None:
    for number in range(ROUNDS):
        headers = {"idempotency-key": f"k{number}"}
        sent = [
            client.post(ALLOT, json={"size": size}, headers=headers)
            for client, size in zip(replicas.clients, (10, 10_000), strict=True)
        ]
        answers = await asyncio.gather(*sent)
        assert sorted(answer.status_code for answer in answers) == [201, 422]
        refused = max(answers, key=lambda answer: answer.status_code)
        assert refused.json()["code"] == "key-reused"


async def test_what_was_written_and_not_answered_is_not_done_again(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once_api, "WAIT_S", 0.2)
    request = {"json": {"size": 10}, "headers": {"idempotency-key": "k"}}

    def lost(_: Answers, request: Once, answer: Remembered) -> bool:
        raise KeyboardInterrupt(request, answer)

    with monkeypatch.context() as dying:
        dying.setattr(Answers, "remember", lost)
        with pytest.raises(KeyboardInterrupt):
            await replicas.clients[0].post(ALLOT, **request)
    again = await replicas.clients[1].post(ALLOT, **request)
    assert (again.status_code, again.json()["code"]) == (409, "in-flight")
    since = again.json()["since"]
    assert f"GET /v1/changes?since={since}" in again.json()["detail"]
    found = (await replicas.clients[1].get(f"/v1/changes?since={since}")).json()["items"]
    assert [one["action"] for one in found] == ["update"]
    assert replicas.mark == 10


async def test_the_answer_of_another_replica_is_waited_for(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember = Answers.remember
    written, asked = threading.Event(), threading.Event()

    def slowly(answers: Answers, request: Once, answer: Remembered) -> bool:
        if request.written:
            written.set()
            assert asked.wait(10)
        return remember(answers, request, answer)

    recall = Answers.recall

    def noticed(answers: Answers, key: str) -> Remembered | None:
        known = recall(answers, key)
        if known is not None and known.status == idempotency.PENDING:
            asked.set()
        return known

    monkeypatch.setattr(Answers, "remember", slowly)
    monkeypatch.setattr(Answers, "recall", noticed)
    request = {"json": {"size": 10}, "headers": {"idempotency-key": "k"}}
    first = asyncio.create_task(replicas.clients[0].post(ALLOT, **request))
    assert await asyncio.to_thread(written.wait, 10)
    second = await replicas.clients[1].post(ALLOT, **request)
    assert (await first).json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_failure_is_told_again_and_an_error_of_ours_is_not(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = replicas.clients
    wrong = {"json": {"size": 10}, "headers": {"idempotency-key": "w"}}
    first = await one.post("/v1/cells/nowhere/sequences", **wrong)
    again = await two.post("/v1/cells/nowhere/sequences", **wrong)
    assert (first.status_code, again.status_code) == (404, 404)
    assert again.headers["idempotency-replayed"] == "true"
    waiting = {"json": {"size": 10}, "headers": {"idempotency-key": "l"}}
    # No server here serves Envoys, so the answer is an error.
    late = await one.post(f"{ALLOT}?wait=fleet", **waiting)
    repeated = await two.post(f"{ALLOT}?wait=fleet", **waiting)
    assert (late.status_code, late.json()["code"]) == (502, "no-fleet")
    assert (repeated.status_code, repeated.json()["code"]) == (409, "answer-not-kept")
    assert repeated.json()["since"] == late.json()["revision"] - 1
    assert replicas.mark == 10


async def test_a_released_cell_is_one_operation(replicas: Replicas) -> None:
    one, two = replicas.clients
    spec = {"name": "c2", "address": "d.example", "endpoints": ["10.0.0.1:1"], "state": "retired"}
    assert (await one.post("/v1/cells", json=spec)).status_code == 201
    request = {"json": {"reason": "gone"}, "headers": {"idempotency-key": "r"}}
    path = "/v1/cells/c2/release-claims"
    answers = await asyncio.gather(one.post(path, **request), two.post(path, **request))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert len((await one.get("/v1/operations")).json()["items"]) == 1
