"""Claims in and out as NDJSON."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.topology import Imported, Reject, Topology
from control_plane.topology.claims import bulk
from control_plane.topology.claims.bulk_lines import last_key
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec

ME = "operator"


def load(topology: Topology, lines: list[str], skip: int = 0) -> tuple[Imported, list[Reject]]:
    rejects: list[Reject] = []
    done = topology.bulk.import_(
        lines, actor=ME, skip=skip, reject=rejects.append, progress=lambda _: None
    )
    return done, rejects


def line(value: str, cell: str = "cell-1", bucket: str = "route", **more: object) -> str:
    return json.dumps({"bucket": bucket, "value": value, "cell": cell, **more}) + "\n"


def test_what_is_exported_comes_back_the_same(two: Topology) -> None:
    full = RecordSpec("username", "Ada", 4, 7, 1, b"\x00\x07", b"\xffany")
    lease = two.leases.begin(2, [full], [], actor=ME).value.uuid
    two.leases.commit(2, lease, actor=ME)
    two.claims.claim([ClaimSpec("route", "Stra\u00dfe", "cell-1", "org-1", "import")], actor=ME)
    two.leases.begin(1, [], [RecordSpec("route", "strasse")], actor=ME)
    two.leases.begin(1, [RecordSpec("route", "perhaps")], [], actor=ME)
    out = list(two.bulk.export())
    assert [last_key(one) for one in out] == [("route", "strasse"), ("username", "ada")]
    before = two.records.get("username", "ada").spec
    two.open_leases.settle_all("cell-1", "rolled back", reason="clean up", actor=ME)
    two.claims.release([("route", "strasse"), ("username", "ada")], actor=ME)
    done, rejects = load(two, out)
    assert (done, rejects) == (Imported(2, 2, 0, 0), [])
    assert two.records.get("username", "ADA").spec == before
    claim = two.claims.get("route", "strasse")
    assert (claim.subject, claim.source, claim.cell) == ("org-1", "import", "cell-1")
    assert [c.key for c in two.changes.since(two.revision() - 1)] == [
        "route:strasse",
        "username:ada",
    ]
    assert list(two.bulk.export()) == out


def test_an_export_resumes_after_a_line(two: Topology) -> None:
    load(two, [line(f"r{n:03}") for n in range(100)])
    out = list(two.bulk.export())
    assert len(out) == 100
    assert list(two.bulk.export(last_key(out[41]))) == out[42:]


BAD = [
    ("{", "no JSON"),
    ("[]", "no JSON object"),
    ('"x"', "no JSON object"),
    ("null", "no JSON object"),
    (line("x", nope=1), "nope"),
    (line(""), "value"),
    (line("x", bucket="Bad"), "no bucket"),
    (line("0", bucket="project_id"), "positive"),
    (line("x", cell="nowhere"), "no cell 'nowhere'"),
    (line("x", cell="cell-2"), "retired"),
    (json.dumps({"bucket": "route", "value": 7, "cell": "cell-1"}), "value"),
    (json.dumps({"bucket": "route", "value": "x"}), "cell"),
    (line("x", subject="s" * 161), "subject"),
    (line("x", subject_id="7"), "subject_id"),
    (line("x", subject_id=True), "subject_id"),
    (line("x", source_type=-1), "source_type"),
    (line("x", source_id="***"), "base64"),
    (line("x", source_id=5), "base64"),
    (line("x" * 70_000), "too long"),
]


def test_each_bad_line_is_rejected_with_its_reason_and_the_rest_is_taken(two: Topology) -> None:
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True, reason="test")
    lines = [one for bad, _ in BAD for one in (bad, "\n", line(f"ok{len(bad)}"))]
    done, rejects = load(two, lines)
    assert [one.line for one in rejects] == [3 * at + 1 for at in range(len(BAD))]
    for one, (text, reason) in zip(rejects, BAD, strict=True):
        assert reason in one.reason
        assert text.startswith(one.text[:100].rstrip("\n"))
    assert done.created == two.claims.count()["route"]
    assert done.created + done.present <= len(BAD)
    assert two.claims.owners_of([("route", "x")]) == [None]


def test_what_is_taken_is_rejected_and_what_stands_so_is_present(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", "theirs", "cell-2"), ClaimSpec("route", "mine", "cell-1")], actor=ME
    )
    lines = [
        line("new"),
        line("mine"),
        line("theirs"),
        line("New"),
        line("new", "cell-2"),
        line("mine", subject="other"),
        line("MINE/"),
        line("new"),
    ]
    done, rejects = load(two, lines)
    assert (done.created, done.present) == (1, 1)
    assert [(one.line, one.reason) for one in rejects] == [
        (3, "route:theirs is claimed already (owner: cell-2)"),
        (4, "line 1 claims route:new with other attributes"),
        (5, "line 1 claims route:new with other attributes"),
        (6, "line 2 claims route:mine with other attributes"),
        (7, "line 2 claims route:mine with other attributes"),
    ]
    _, rejects = load(two, [line("Mine")])
    (spelled,) = rejects
    assert spelled.reason == "route:mine is claimed already (owner: cell-1), spelled 'mine'"
    revision = two.revision()
    done, rejects = load(two, lines[:2])
    assert (done.created, done.present, rejects) == (0, 2, [])
    assert two.revision() == revision, "nothing new, no revision"


def test_what_a_lease_holds_is_not_counted_as_present(two: Topology) -> None:
    creating = two.leases.begin(1, [RecordSpec("route", "a")], [], actor=ME).value.uuid
    two.claims.claim([ClaimSpec("route", "b", "cell-1")], actor=ME)
    destroying = two.leases.begin(1, [], [RecordSpec("route", "b")], actor=ME).value.uuid
    done, rejects = load(two, [line("a"), line("b"), line("c")])
    assert (done.created, done.present) == (1, 0)
    assert [one.reason for one in rejects] == [
        f"lease {creating} of cell-1 holds route:a: import it again later",
        f"lease {destroying} of cell-1 holds route:b: import it again later",
    ]
    two.leases.roll_back(1, creating, actor=ME)
    two.leases.commit(1, destroying, actor=ME)
    done, rejects = load(two, [one.text for one in rejects])
    assert (done.created, rejects) == (2, [])


def test_text_that_no_database_keeps_is_rejected(two: Topology) -> None:
    lines = [line("a", subject="p\x00"), line("b", source="\ud800"), line("c", subject="p")]
    done, rejects = load(two, lines)
    assert (done.created, [one.line for one in rejects]) == (1, [1, 2])
    assert all("a NUL or a lone surrogate" in one.reason for one in rejects)


def test_a_broken_off_import_resumes_at_its_line(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "LINES_PER_TRANSACTION", 10)
    lines = [line(f"r{n}") for n in range(35)] + [line("r3", "cell-2")]
    seen: list[Imported] = []

    class BrokenOff(Exception):
        pass

    def progress(done: Imported) -> None:
        seen.append(done)
        if done.next_line == 20:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        two.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=progress)
    assert [one.next_line for one in seen] == [10, 20]
    assert two.claims.count() == {"route": 20}
    done, rejects = load(two, lines, skip=10)
    assert (done.created, done.present, done.next_line) == (15, 10, 36)
    assert [one.line for one in rejects] == [36]
    assert two.claims.count() == {"route": 35}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(max_size=30), max_size=10))
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_no_text_breaks_an_import(two: Topology, texts: list[str]) -> None:
    done, rejects = load(two, texts)
    assert done.created == 0
    assert {one.text for one in rejects} <= {text.rstrip("\n") for text in texts}
    assert done.rejected == len([text for text in texts if text.strip()])


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_import_into_sqlite_is_fast(two: Topology) -> None:
    """Far below what it does (see the benchmark), far above a claim at a time."""
    lines = [line(f"tenant-{n}") for n in range(20_000)]
    started = time.perf_counter()
    done, _ = load(two, lines)
    assert done.created == 20_000
    assert 20_000 / (time.perf_counter() - started) > 2_000


def test_revisions_of_the_feed_stay_in_order_through_an_import(two: Topology) -> None:
    load(two, [line(f"r{n}") for n in range(50)])
    two.claims.claim([ClaimSpec("route", "last", "cell-1")], actor=ME)
    feed = two.changes.since(2)
    assert len(feed) == 51
    assert all(a.revision <= b.revision for a, b in pairwise(feed))
