"""A claim keeps the spelling that its cell sent; it is unique and found under the normalised one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Request
from control_plane.routing.rules.parse import parse
from control_plane.topology import Subject, Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.claim_key import MAX_SPELLING, normalise, normalise_spelled
from control_plane.topology.values.errors import AlreadyExists, Invalid, Locked

ME = "tester"
SOURCE = 1


def user(name: str, number: int = 7) -> RecordSpec:
    return RecordSpec("username", name, 4, number, SOURCE, number.to_bytes(8, "big"))


def begin(
    topology: Topology, creates: list[RecordSpec], destroys: list[RecordSpec], cell: int = 1
) -> str:
    return topology.leases.begin(cell, creates, destroys, actor=ME).value.uuid


def update(topology: Topology, creates: list[RecordSpec], destroys: list[RecordSpec]) -> None:
    topology.leases.commit(1, begin(topology, creates, destroys), actor=ME)


def listed(topology: Topology, cell: int = 1) -> list[str]:
    return [one.spec.value for one in topology.records.page(cell, source_type=SOURCE)[0]]


def stored(topology: Topology) -> dict[str, str | None]:
    """The column itself, by the normalised value."""
    with topology._store.read() as connection:
        rows = connection.execute(text("SELECT value, spelling FROM claims"))
        return {row.value: row.spelling for row in rows}


def test_a_record_is_spelled_as_it_was_sent_and_found_under_any_spelling(two: Topology) -> None:
    update(two, [user("Ann"), user("bob", 8)], [])
    assert listed(two) == ["Ann", "bob"]
    for asked in ("ann", "Ann", "ANN "):
        assert two.records.get("username", asked).spec == user("Ann")
        assert two.claims.owners_of([("username", asked)]) == [1]
    claim = two.claims.get("username", "aNN")
    assert (claim.value, claim.spelling) == ("ann", "Ann")
    assert [(one.value, one.spelling) for one in two.claims.page()] == [
        ("ann", "Ann"),
        ("bob", None),
    ]
    assert stored(two) == {"ann": "Ann", "bob": None}, "what needs no column takes none"


def test_another_spelling_is_the_same_name(two: Topology) -> None:
    lease = begin(two, [user("Ann")], [])
    for cell in (1, 2):
        with pytest.raises(AlreadyExists) as caught:
            begin(two, [user("ANN")], [], cell=cell)
        assert caught.value.taken == (("username:ann", "cell-1"),)
    with pytest.raises(Invalid, match="stands twice"):
        begin(two, [user("Bob"), user("BOB")], [])
    with pytest.raises(AlreadyExists):
        two.claims.claim([ClaimSpec("username", "aNn", "cell-2")], actor=ME)
    assert two.records.get("username", "ann").lease == lease
    assert listed(two) == ["Ann"]


def test_a_destroy_names_any_spelling(two: Topology) -> None:
    update(two, [user("Ann")], [])
    two.leases.roll_back(1, begin(two, [], [user("ANN")]), actor=ME)
    assert listed(two) == ["Ann"], "who destroys in vain changes no letter"
    lease = begin(two, [], [user("aNN")])
    with pytest.raises(Locked):
        begin(two, [user("ann")], [], cell=2)
    two.leases.commit(1, lease, actor=ME)
    assert two.claims.owners_of([("username", "Ann")]) == [None]


@pytest.mark.parametrize(("old", "new"), [("Ann", "ANN"), ("Ann", "ann"), ("ann", "Ann")])
def test_one_batch_replaces_a_spelling(two: Topology, old: str, new: str) -> None:
    update(two, [user(old)], [])
    undone = begin(two, [user(new)], [user(old)])
    assert listed(two) == [old], "until the commit the old one stands"
    two.leases.roll_back(1, undone, actor=ME)
    assert listed(two) == [old]
    update(two, [user(new)], [user(old)])
    assert listed(two) == [new]
    assert stored(two) == {"ann": None if new == "ann" else new}


def test_a_swap_of_names_takes_their_spellings_along(two: Topology) -> None:
    update(two, [user("Ann", 1), user("BOB", 2)], [])
    update(two, [user("Bob", 1), user("ANN", 2)], [user("Ann", 1), user("BOB", 2)])
    assert listed(two) == ["Bob", "ANN"]


def test_operators_claims_keep_their_spelling_too(two: Topology) -> None:
    written = two.claims.claim([ClaimSpec("route", "Acme/", "cell-1", "org-1")], actor=ME)
    (made,) = written.value
    assert (made.value, made.spelling) == ("acme", "Acme/")
    assert two.records.get("route", "ACME").spec.value == "Acme/"
    two.moves.move(Subject(text="org-1"), "cell-1", "cell-2", reason="closer", actor=ME)
    assert two.records.get("route", "acme").spec.value == "Acme/"
    (freed,) = two.claims.release([("route", "aCMe")], actor=ME).value
    assert freed.as_dict()["spelling"] == "Acme/"


def test_an_export_comes_back_letter_by_letter(two: Topology) -> None:
    update(two, [user("Ann"), user("bob", 8), RecordSpec("project_id", "007")], [])
    two.claims.claim([ClaimSpec("route", "Stra\u00dfe", "cell-2")], actor=ME)
    before = [two.records.get(one.bucket, one.value).spec for one in two.claims.page()]
    out = list(two.bulk.export())
    two.claims.release([(one.bucket, one.value) for one in two.claims.page()], actor=ME)

    def load() -> tuple[int, int, int]:
        done = two.bulk.import_(out, actor=ME, reject=lambda _: None, progress=lambda _: None)
        return done.created, done.present, done.rejected

    assert load() == (4, 0, 0)
    assert load() == (0, 4, 0)
    assert [two.records.get(one.bucket, one.value).spec for one in two.claims.page()] == before
    assert list(two.bulk.export()) == out
    expected = {"7": "007", "strasse": "Stra\u00dfe", "ann": "Ann", "bob": None}
    assert stored(two) == expected
    (told,) = [
        c.after for c in two.claims.audit("username", "ann") if (c.after or {}).get("imported")
    ]
    assert told["spelling"] == "Ann"


def test_the_audit_tells_the_spelling(two: Topology) -> None:
    update(two, [user("Ann")], [])
    update(two, [user("ANN")], [user("ann")])
    update(two, [], [user("aNN")])
    two.leases.roll_back(1, begin(two, [user("AnN")], []), actor=ME)
    update(two, [user("ann")], [])

    def told(side: Any) -> object:
        return None if side is None else side.get("spelling")

    entries = [c for c in two.claims.audit("username", "ann") if c.kind == "claim"]
    assert {c.key for c in entries} == {"username:ann"}
    assert [(c.action, told(c.before), told(c.after)) for c in entries] == [
        ("create", None, "Ann"),
        ("replace", None, "ANN"),
        ("update", None, None),
        ("destroy", None, None),
        ("delete", "ANN", None),
        ("create", None, "AnN"),
        ("delete", "AnN", None),
        ("create", None, None),
    ]


def test_an_emptied_cells_audit_tells_the_spelling(two: Topology) -> None:
    update(two, [user("Ann")], [])
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="test")
    two.releases.release_all("cell-1", reason="gone", actor=ME)
    (gone,) = [c for c in two.claims.audit("username", "ann") if c.action == "delete"]
    assert gone.before is not None
    assert gone.before["spelling"] == "Ann"


def test_a_spelling_that_is_too_long_is_refused_where_it_would_be_kept(two: Topology) -> None:
    longest = "Ann" + " " * (MAX_SPELLING - 3)
    update(two, [user(longest)], [])
    assert listed(two) == [longest]
    assert two.claims.owners_of([("username", longest + " ")]) == [1], "a look-up keeps nothing"
    with pytest.raises(Invalid, match=r"create_records\[1\].value: 1025 characters.*'bob'"):
        begin(two, [user("x"), user("bob" + " " * 1022)], [])
    with pytest.raises(Invalid, match="1025 characters"):
        two.claims.claim([ClaimSpec("route", "/" * 1022 + "bob", "cell-1")], actor=ME)
    assert list(stored(two)) == ["ann"]


def rule(source: str, regex: str, bucket: str, **name: str) -> dict[str, Any]:
    return {
        "id": f"{source}-{bucket}",
        "match": {"type": source, "regexValue": regex, **name},
        "action": "classify",
        "classify": {"claims": [{bucket: "${v}"}]},
    }


BUCKETS = ["route", "username", "email", "host", "pages_domain", "project_id", "tenant", "other"]
LOOK_UPS = parse(
    [rule("path", f"^/{bucket}/(?<v>[^/]+)$", bucket) for bucket in BUCKETS]
    + [rule("host", "^(?<v>.+)$", bucket) for bucket in ("host", "pages_domain")]
    + [rule("header", "^(?<v>.+)$", "host", name="^host$")]
)
SAME = [
    ("route", ["Caf\u00e9", "cafe\u0301", "CAF\u00c9"]),
    ("username", ["a\u200db", "A\u200dB"]),
    ("tenant", ["a\u3000b", "A\u3000B"]),
    ("email", ["X1@Globex.example", "x1@globex.example\u3002", "x1@globex\uff0eexample\uff61"]),
    (
        "email",
        ["\u0915\u094d\u200d@b\u00fccher.example", "\u0915\u094d\u200d@xn--bcher-kva.example"],
    ),
    ("email", ['"ann"@g.example', "Ann@g.example."]),
    ("host", ["G.example", "g.example:443", "g.example.:80", "g\u3002example", "\uff47.example"]),
    ("pages_domain", ["B\u00fccher.example:8080", "xn--bcher-kva.example."]),
    ("host", ["[0:0::1]:80", "[::1]"]),
    ("project_id", ["7", "007"]),
    ("other", ["e\u0301", "\u00e9"]),
]


def answered(topology: Topology, request: Request) -> str | None:
    cells = Cells(topology.snapshot().cells)
    return decide(LOOK_UPS, request, cells, topology.claims.owners_of).cell


@pytest.mark.parametrize(("bucket", "spellings"), SAME)
def test_a_request_finds_a_claim_by_every_spelling_and_no_other_cell_gets_one(
    two: Topology, bucket: str, spellings: list[str]
) -> None:
    for claimed in spellings:
        update(two, [RecordSpec(bucket, claimed)], [])
        for asked in spellings:
            path = f"/{bucket}/{quote(asked, safe='')}"
            assert answered(two, Request.of(path)) == "cell-1", (claimed, asked)
            if bucket in {"host", "pages_domain"}:
                assert answered(two, Request.of("/", authority=asked)) == "cell-1"
            with pytest.raises(AlreadyExists):
                begin(two, [RecordSpec(bucket, asked)], [], cell=2)
            with pytest.raises(AlreadyExists):
                two.claims.claim([ClaimSpec(bucket, asked, "cell-2")], actor=ME)
        update(two, [], [RecordSpec(bucket, spellings[-1])])
    assert stored(two) == {}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bucket=st.sampled_from(BUCKETS),
    value=st.one_of(
        st.text(min_size=1, max_size=8),
        st.text(
            st.sampled_from("aA.@-:1\u00fc\u3002\uff0e\u200d\u00a0\u2028%"), min_size=1, max_size=8
        ),
    ),
)
def test_what_can_be_claimed_can_be_asked_for(two: Topology, bucket: str, value: str) -> None:
    try:
        normal = normalise(bucket, value)
    except Invalid:
        return
    two.claims.claim([ClaimSpec(bucket, value, "cell-1")], actor=ME)
    for asked in (value, normal):
        path = f"/{bucket}/{quote(asked, safe='')}"
        # A slash ends the value in the path.
        assert "/" in asked or answered(two, Request.of(path)) == "cell-1"
    two.claims.release([(bucket, value)], actor=ME)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bucket=st.sampled_from(["route", "username", "email", "host", "project_id", "other"]),
    value=st.one_of(
        st.text(max_size=20),
        st.from_regex(r"[A-Za-z0-9\u00df\u00c5 /.]{1,12}", fullmatch=True),
        st.from_regex(r" ?[A-Z][a-z]{1,3}@[A-Za-z\u00fc]{1,5}\.Example ?", fullmatch=True),
    ),
)
def test_what_is_sent_is_what_comes_back(two: Topology, bucket: str, value: str) -> None:
    try:
        normal, spelling = normalise_spelled(bucket, value)
    except Invalid:
        with pytest.raises(Invalid):
            begin(two, [RecordSpec(bucket, value)], [])
        return
    assert normal == normalise(bucket, value)
    assert spelling == (None if value == normal else value)
    update(two, [RecordSpec(bucket, value)], [])
    assert two.records.get(bucket, normal).spec.value == value
    assert stored(two) == {normal: spelling}
    update(two, [], [RecordSpec(bucket, normal)])
    assert stored(two) == {}
