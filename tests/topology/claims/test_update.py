"""What an update must be like before any database sees it."""

from __future__ import annotations

import pytest

from control_plane.topology.claims.update import check_key, check_update
from control_plane.topology.values import Invalid, RecordSpec

LONGEST = 255
"""As docs/topology.md says; REST and gRPC refuse longer ones too."""


@pytest.mark.parametrize("key", [None, "k", "k" * LONGEST])
def test_an_idempotency_key_as_documented_is_taken(key: str | None) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", "k" * (LONGEST + 1), "a\nb"])
def test_any_other_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="1 to 255 printable characters"):
        check_key(key)


def route(name: str, **more: int) -> RecordSpec:
    return RecordSpec("route", name, **more)


def test_a_key_on_both_sides_is_replaced() -> None:
    update = check_update([route("New"), route("Acme/")], [route("acme"), route("old")])
    assert [(spec.value, spec.spelling) for spec in update.creates] == [("new", "New")]
    assert [(spec.value, spec.spelling) for spec in update.replaced] == [("acme", "Acme/")]
    assert update.destroys == (("route", "acme"), ("route", "old"))
    assert update.replaced[0].as_sent() == route("Acme/")


def test_a_fingerprint_depends_on_what_is_asked_and_not_on_its_order() -> None:
    first, second, gone = route("a"), route("b", subject_type=3, subject_id=7), route("c")
    fingerprint = check_update([first, second], [gone]).fingerprint()
    assert check_update([second, first], [gone]).fingerprint() == fingerprint
    for creates in ([first], [first, route("b")], [route("A"), second]):
        assert check_update(creates, [gone]).fingerprint() != fingerprint


@pytest.mark.parametrize(
    ("creates", "field"),
    [
        ([route("a"), route("A/")], "create_records[1]"),
        ([route("a"), RecordSpec("project_id", "x")], "create_records[1].value"),
        ([RecordSpec("project_id", "5", 3, 6)], "create_records[0].subject_id"),
        ([route("a", source_type=2**31)], "create_records[0].source_type"),
    ],
)
def test_the_record_that_is_wrong_is_named(creates: list[RecordSpec], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_update(creates, [])
    assert [problem.field for problem in caught.value.problems] == [field]
