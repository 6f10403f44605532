"""REST for operators: leases, transfers, emptying a retired cell, sequences, audit, operations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.topology import Topology
from control_plane.topology.claims import release
from control_plane.topology.operations import SILENT
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import RecordSpec
from tests.support.rest_server import serving
from tests.topology.conftest import cell_spec

ME = "tester"
WHY = {"reason": "the cell burned down"}


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/api.db")
    for number in (1, 2):
        opened.cells.create(cell_spec(number), actor=ME)
    yield opened
    opened.close()


@pytest.fixture
def api(tmp_path: Path, topology: Topology) -> Iterator[httpx.Client]:
    with serving(tmp_path) as client:
        yield client


def project(number: int, *names: str) -> list[RecordSpec]:
    return [RecordSpec("route", name, 3, number) for name in names]


def begin(topology: Topology, cell: int, *specs: RecordSpec) -> str:
    return topology.leases.begin(cell, list(specs), [], actor=f"cell-{cell}").value.uuid


def own(topology: Topology, cell: int, *specs: RecordSpec) -> None:
    topology.leases.commit(cell, begin(topology, cell, *specs), actor=f"cell-{cell}")


def ended(api: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The operation of a 202, once it has ended."""
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]
    end = time.monotonic() + 30
    while (one := api.get(location).json())["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    found: dict[str, Any] = one
    return found


def test_leases_are_listed_by_age_and_page_after_page(
    api: httpx.Client, topology: Topology
) -> None:
    begun: list[str] = []
    for n in range(1, 8):
        begun.append(begin(topology, n % 2 + 1, *project(n, f"r{n}", f"s{n}")))
        # SQLite's clock has milliseconds; leases of the same one are listed in any order.
        time.sleep(0.002)
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = api.get("/v1/leases", params=params).json()
        seen += [one["lease"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == begun
    one = api.get(f"/v1/leases/{begun[0]}").json()
    assert (one["cell"], one["creating"], one["destroying"]) == ("cell-2", 2, 0)
    assert 0 <= one["age_s"] < 60
    of_one = api.get("/v1/leases?cell=cell-1").json()["items"]
    assert {lease["cell"] for lease in of_one} == {"cell-1"}
    assert api.get("/v1/leases?older_than_s=3600").json()["items"] == []
    assert api.get("/v1/leases?cell=nowhere").status_code == 404
    assert api.get("/v1/leases?cursor=WyIxIiwgIjIiXQ").status_code == 422


def test_one_lease_is_settled_with_a_reason(api: httpx.Client, topology: Topology) -> None:
    lease = begin(topology, 1, *project(1, "a"))
    path = f"/v1/leases/{lease}/settle"
    assert api.post(path, json={"outcome": "commit"}).status_code == 422
    assert api.post(path, json={"outcome": "commit", "reason": " "}).status_code == 422
    told = api.post(f"{path}?dry_run=true", json={"outcome": "commit", **WHY})
    assert (told.json()["dry_run"], told.json()["outcome"]) == (True, "committed")
    assert len(topology.open_leases.page()) == 1
    done = api.post(path, json={"outcome": "commit", **WHY}, headers={"x-actor": "alice"})
    assert done.json()["revision"] == topology.revision()
    assert topology.records.get("route", "a").status == "active"
    assert api.post(path, json={"outcome": "rollback", **WHY}).status_code == 404
    newest = api.get("/v1/audit?bucket=route&value=A").json()["items"][0]
    assert (newest["kind"], newest["action"], newest["actor"]) == (
        "lease", "commit", "api (alice)@127.0.0.1",
    )  # fmt: skip
    assert newest["after"]["reason"] == WHY["reason"]


def test_all_leases_of_a_dead_cell_are_settled_in_an_operation(
    api: httpx.Client, topology: Topology
) -> None:
    for number in range(1, 131):
        begin(topology, 1, *project(number, f"r{number}"))
    alive = begin(topology, 2, *project(500, "alive"))
    body = {"cell": "cell-1", "outcome": "rollback", **WHY}
    told = api.post("/v1/leases/settle?dry_run=true", json=body)
    assert (told.status_code, told.json()["total"]) == (200, 130)
    done = ended(api, api.post("/v1/leases/settle", json=body))
    assert (done["state"], done["done"], done["total"]) == ("done", 130, 130)
    assert [lease.uuid for lease in topology.open_leases.page()] == [alive]
    assert api.get("/v1/operations").json()["items"][0]["id"] == done["id"]
    assert api.get("/v1/operations/nothing").status_code == 404
    assert api.post("/v1/leases/settle", json=body | {"cell": "x"}).status_code == 404


def test_a_subjects_claims_move_in_one_step(api: httpx.Client, topology: Topology) -> None:
    own(topology, 1, *project(7, "a", "b"), *project(8, "other"))
    body = {"subject": {"type": "project", "id": 7}, "source": "cell-1", "target": "cell-2", **WHY}
    told = api.post("/v1/claims/transfer?dry_run=true", json=body).json()
    assert (told["moved"], len(told["changes"])) == (2, 2)
    assert topology.claims.get("route", "a").cell == "cell-1"
    key = {"idempotency-key": "t1"}
    done = api.post("/v1/claims/transfer", json=body, headers=key)
    assert (done.json()["moved"], done.json()["revision"]) == (2, topology.revision())
    again = api.post("/v1/claims/transfer", json=body, headers=key)
    assert again.json() == done.json()
    assert {topology.claims.get("route", n).cell for n in "ab"} == {"cell-2"}
    assert topology.claims.get("route", "other").cell == "cell-1"
    assert api.post("/v1/claims/transfer", json=body).status_code == 404
    back = body | {"source": "cell-2", "target": "cell-1"}
    lease = topology.leases.begin(2, [], project(7, "a"), actor="c").value.uuid
    locked = api.post("/v1/claims/transfer", json=back)
    assert (locked.status_code, locked.json()["code"]) == (409, "locked")
    assert locked.json()["held"] == [{"key": "route:a", "lease": lease}]
    for wrong in ({}, {"type": "project"}, {"type": "project", "id": 7, "text": "both"}):
        assert api.post("/v1/claims/transfer", json=body | {"subject": wrong}).status_code == 422


def test_a_retired_cell_is_emptied_in_an_operation(
    api: httpx.Client, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(topology, 1, *project(7, *(f"r{n}" for n in range(25))))
    path = "/v1/cells/cell-1/release-claims"
    refused = api.post(path, json=WHY)
    assert (refused.status_code, refused.json()["code"]) == (409, "refused")
    assert "force" not in refused.text, "it would not help"
    topology.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="test")
    assert api.post(path, json=WHY, headers={"if-match": '"1"'}).status_code == 412
    assert api.post(f"{path}?dry_run=true", json=WHY).json()["total"] == 25
    monkeypatch.setattr(release, "RELEASE_CLAIMS", 10)
    done = ended(api, api.post(path, json=WHY))
    assert (done["state"], done["done"]) == ("done", 25)
    assert topology.claims.count() == {}


def test_an_operation_whose_process_died_is_shown_as_interrupted_and_can_be_repeated(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = topology.operations.start("release-claims", "cell-1", 3, actor=ME)
    with pytest.raises(Exception, match="does it already"):
        topology.operations.start("release-claims", "cell-1", 3, actor=ME)
    monkeypatch.setattr("control_plane.topology.operations.SILENT", -SILENT)
    assert topology.operations.get(begun.id).state == "interrupted"
    assert topology.operations.start("release-claims", "cell-1", 3, actor=ME).id != begun.id


def test_sequences_are_allotted_reported_and_seen_to_run_out(
    api: httpx.Client, topology: Topology
) -> None:
    assert api.get("/v1/cells/cell-1/sequences").json()["ranges"] == []
    path = "/v1/cells/cell-1/sequences"
    etag = api.get("/v1/cells/cell-1").headers["etag"]
    assert api.post(f"{path}?dry_run=true", json={"size": 100}).json()["range"]["minval"] == 1
    made = api.post(path, json={"size": 100}, headers={"if-match": etag})
    assert (made.status_code, made.json()["range"]) == (201, {"minval": 1, "maxval": 100})
    assert made.headers["etag"] == api.get("/v1/cells/cell-1").headers["etag"]
    assert api.post(path, json={"size": 1}, headers={"if-match": etag}).status_code == 412
    second = api.post("/v1/cells/cell-2/sequences", json={"size": 50}).json()["range"]
    assert second == {"minval": 101, "maxval": 150}
    assert api.post(f"{path}/report", json={"last": 101}).status_code == 422
    use = api.post(f"{path}/report", json={"last": 95}).json()
    assert (use["share"], use["alarming"]) == (0.95, True)
    everything = api.get("/v1/sequences").json()
    assert [one["alarming"] for one in everything["items"]] == [True, False]
    assert everything["mark"]["mark"] == 150
    refused = api.post("/v1/sequences/confirm")
    assert (refused.status_code, refused.json()["code"]) == (409, "refused")


def test_the_audit_of_everything_goes_page_after_page_newest_first(
    api: httpx.Client, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(topology, 1, *project(7, "a", "b", "c"))
    for number in range(12):
        own(topology, 2, *project(number + 1, f"x{number}"))
    whole = [(c.revision, c.key) for c in topology.changes.since(0)]
    for window in (10_000, 3):
        monkeypatch.setattr("control_plane.topology.changes.WINDOW", window)
        seen: list[tuple[int, str]] = []
        cursor = None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = api.get("/v1/audit", params=params).json()
            seen += [(one["revision"], one["key"]) for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == whole[::-1]
    cells = api.get("/v1/audit?kind=cell&actor=tester").json()
    while cells["next"] is not None and not cells["items"]:
        query = {"kind": "cell", "actor": "tester", "cursor": cells["next"]}
        cells = api.get("/v1/audit", params=query).json()
    assert {one["key"] for one in cells["items"]} == {"cell-1", "cell-2"}
    assert api.get("/v1/audit?bucket=route").status_code == 422
    assert api.get("/v1/audit?bucket=route&value=a&actor=x").status_code == 422


def test_a_claims_audit_goes_on_where_it_ended(api: httpx.Client, topology: Topology) -> None:
    for cell in (1, 2, 1):
        own(topology, cell, *project(7, "a"))
        topology.claims.release([("route", "a")], actor=ME)
    keys: list[tuple[str, str]] = []
    cursor = None
    while True:
        params = {"bucket": "route", "value": "a", "limit": 4}
        page = api.get("/v1/audit", params=params | ({"cursor": cursor} if cursor else {})).json()
        keys += [(one["kind"], one["action"]) for one in page["items"] if one["kind"] == "claim"]
        cursor = page["next"]
        if cursor is None:
            break
    assert keys == [("claim", "delete"), ("claim", "create")] * 3


def test_a_reader_that_was_away_too_long_starts_anew(api: httpx.Client, topology: Topology) -> None:
    for number in range(8):
        topology.cells.set_health("cell-1", healthy=bool(number % 2), actor="health")
    assert api.get("/v1/audit").json()["oldest"] == 0
    topology.changes.prune(keep=4)
    stream = {"accept": "text/event-stream", "last-event-id": "5"}
    for gone in (
        api.get("/v1/changes", params={"since": 5}),
        api.get("/v1/changes", headers={"last-event-id": "0"}),
        api.get("/v1/changes", headers=stream),
    ):
        assert gone.status_code == 410
        assert gone.headers["content-type"] == "application/problem+json"
        assert (gone.json()["code"], gone.json()["oldest"]) == ("gone", 6)
        assert "start anew: note the current revision" in gone.json()["detail"]
    found = api.get("/v1/changes", params={"since": 6}).json()
    assert [one["revision"] for one in found["items"]] == [7, 8, 9, 10]
    audit = api.get("/v1/audit").json()
    assert (audit["oldest"], len(audit["items"]), audit["next"]) == (6, 4, None)
    claim = api.get("/v1/audit", params={"bucket": "route", "value": "a"}).json()
    assert (claim["oldest"], claim["items"]) == (6, [])
