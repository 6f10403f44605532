"""A tenant moves under load through a real Envoy: what is frozen is refused, and no request reaches
the old cell once the switch was reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control_plane.edge_module.build import build
from tests.support.conditions import wait_until
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.system import SOON_UP_AND_PATIENT, System

FLEET = "wait=fleet&timeout=30s"
ASKED = (
    ("acme", "GET", b"/t/acme/app"),
    ("acme", "POST", b"/t/acme/app"),
    ("acme", "POST", b"/t/acme/sign_in"),
    ("other", "POST", b"/t/other/app"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    tenant: str
    method: str
    path: bytes
    begun: float
    status: int
    cell: str
    retry_after: bytes | None


class Load:
    """Clients that ask for all of `ASKED` in turn, each over one connection that is kept."""

    def __init__(self, port: int, clients: int = 3) -> None:
        self.answers: list[Answer] = []
        self.errors: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def _run(self, client: int) -> None:
        try:
            with RawConnection(("127.0.0.1", self._port)) as connection:
                turn = client
                while not self._stop.is_set():
                    turn += 1
                    tenant, method, path = ASKED[turn % len(ASKED)]
                    sent = request_bytes(path, [("content-length", b"0")], method=method)
                    begun = time.monotonic()
                    response = connection.exchange(sent)
                    assert response is not None
                    cell = (response.header("x-example-cell") or b"").decode()
                    wait = response.header("retry-after")
                    self.answers.append(
                        Answer(tenant, method, path, begun, response.status, cell, wait)
                    )
        except BaseException as error:
            self.errors.append(repr(error))
            raise

    def settle(self, more: int = 60) -> None:
        """Wait for so many further answers."""
        wanted = len(self.answers) + more
        wait_until(lambda: len(self.answers) >= wanted or bool(self.errors), 30)

    def since(self, begun: float, until: float = float("inf")) -> list[Answer]:
        return [one for one in self.answers if begun <= one.begun < until]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module", params=["edge-cache", "edge-map"])
def tier(request: pytest.FixtureRequest) -> str:
    """The tier that answers for names which are not held."""
    return str(request.param)


@pytest.fixture(scope="module")
def system(tier: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory: Path = tmp_path_factory.mktemp("moves")
    module = build() if tier == "edge-map" else None
    with System(directory, cells=2, module=module, **SOON_UP_AND_PATIENT) as running:
        running.add_cells()
        running.use_ruleset("generic")
        claims = [
            {"bucket": "tenant", "value": name, "cell": "cell-1", "subject": name}
            for name in ("acme", "other", "tested")
        ]
        running.write("POST", "/v1/claims", {"claims": claims})
        yield running


def planned(system: System, subject: str, **more: Any) -> str:
    body = {
        "source": "cell-1",
        "target": "cell-2",
        "reason": "ticket 7",
        "subject": {"text": subject},
        **more,
    }
    number = system.write("POST", "/v1/moves", body)["move"]["id"]
    system.write("POST", f"/v1/moves/{number}/preflight", {})
    return f"/v1/moves/{number}"


def wait_for_tier(system: System, path: bytes, tier: str, cell: bytes) -> None:
    """Wait until a tier answers for a path, with a cell."""
    with RawConnection(("127.0.0.1", system.edge_port)) as connection:

        def answers() -> bool:
            response = connection.exchange(request_bytes(path))
            assert response is not None
            assert response.header("x-example-cell") == cell
            return response.header("x-cellway-tier") == tier.encode()

        wait_until(answers, 30)


def test_a_tenant_moves_under_load_and_back(system: System, tier: str) -> None:
    wait_for_tier(system, b"/t/acme/app", tier, b"cell-1")
    allow = [{"methods": ["POST"], "path": "/sign_in$"}]
    move = planned(system, "acme", freeze={"allow": allow})
    with Load(system.edge_port) as load:
        load.settle()
        told = system.write("POST", f"{move}/freeze?{FLEET}", {})
        assert told["move"]["facts"]["in_force_at"] is not None
        assert told["fleet"]["connected"] == 1
        frozen = time.monotonic()
        load.settle()
        early = system.api.post(f"{move}/switch", json={})
        assert (early.status_code, "way back is not verified" in early.text) == (409, True)
        system.write("POST", f"{move}/verified", {"back": True, "forth": True})
        switching = time.monotonic()
        told = system.write("POST", f"{move}/switch?{FLEET}", {})
        assert told["move"]["state"] == "watching"
        switched = time.monotonic()
        wait_for_tier(system, b"/t/acme/app", tier, b"cell-2")
        load.settle()
        rolling = time.monotonic()
        system.write("POST", f"{move}/rollback?{FLEET}", {"reason": "it was a test"})
        back = time.monotonic()
        load.settle()
    assert not load.errors
    others = [one for one in load.answers if one.tenant == "other"]
    assert {(one.status, one.cell) for one in others} == {(200, "cell-1")}, "nobody else is touched"
    while_frozen = [one for one in load.since(frozen, switching) if one.tenant == "acme"]
    said = {(one.method, one.path, one.status, one.cell, one.retry_after) for one in while_frozen}
    assert said == {
        ("GET", b"/t/acme/app", 200, "cell-1", None),
        ("POST", b"/t/acme/app", 503, "", b"5"),
        ("POST", b"/t/acme/sign_in", 200, "cell-1", None),
    }
    at_target = [one for one in load.since(switched, rolling) if one.tenant == "acme"]
    assert len(at_target) > 20
    assert {(one.status, one.cell) for one in at_target} == {(200, "cell-2")}
    at_source = [one for one in load.since(back) if one.tenant == "acme"]
    assert {(one.status, one.cell) for one in at_source} == {(200, "cell-1")}


def test_a_frozen_request_says_that_it_is_frozen_and_explain_says_by_which_move(
    system: System,
) -> None:
    move = planned(system, "tested")
    system.write("POST", f"{move}/freeze?{FLEET}", {})
    with RawConnection(("127.0.0.1", system.edge_port)) as connection:
        sent = request_bytes(b"/t/tested/x", [("content-length", b"0")], method="DELETE")
        response = connection.exchange(sent)
    assert response is not None
    assert (response.status, b"frozen" in response.body) == (503, True)
    asked = {"url": "/t/tested/x", "method": "DELETE"}
    told = system.write("POST", "/v1/explain", asked)
    number = move.rpartition("/")[2]
    assert f"frozen by move {number}, which refuses DELETE" in str(told)
    system.write("POST", f"{move}/rollback?{FLEET}", {})


def test_test_users_see_the_target_in_the_rehearsal(system: System) -> None:
    tester = {"kind": "cookie", "name": "tester", "value": "yes"}
    move = planned(system, "tested", testers=[tester])
    system.write("POST", f"{move}/rehearse?{FLEET}", {})
    with RawConnection(("127.0.0.1", system.edge_port)) as connection:
        seen = []
        for cookie in (b"a=1", b"a=1; tester=yes", b"tester=no", b"tester=yes"):
            response = connection.exchange(request_bytes(b"/t/tested/x", [("cookie", cookie)]))
            assert response is not None
            seen.append(response.header("x-example-cell"))
    assert seen == [b"cell-1", b"cell-2", b"cell-1", b"cell-2"]
    system.write("POST", f"{move}/rollback?{FLEET}", {})
