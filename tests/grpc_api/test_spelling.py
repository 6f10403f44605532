"""Spellings by raw bytes: what a cell sent comes back, so that its verification finds no drift."""

from __future__ import annotations

import pytest

from tests.grpc_api.claims_messages import (
    BEGIN,
    COMMIT,
    RECORD,
    RECORDS,
    ROLLBACK,
    begin,
    begun,
    both,
    key_id,
    metadata,
    owner,
    settle,
)
from tests.grpc_api.first_claims_messages import CELL_2, CREATE, GET, details
from tests.grpc_api.wire_client import Wire, fields, num, sub

USERNAME, USER_ID, USERS = 4, 10, 1


def user(name: str, number: int = 9) -> bytes:
    return metadata(USERNAME, name, source=(USERS, key_id(number)))


async def listed(wire: Wire, cell: int = 1) -> list[bytes]:
    """Metadata of each record, from ListRecordsResponse: records=1 {metadata=2}."""
    answer = fields(await wire.raw(RECORDS, num(1, cell) + num(2, USERS)))
    return [dict(fields(record))[2] for number, record in answer if number == 1]


def spelled(record: bytes) -> tuple[str, str]:
    """As bucket=1 {value=2} and claim=5 {username=4} spell it."""
    parts = dict(fields(record))
    return dict(fields(parts[1]))[2].decode(), dict(fields(parts[5]))[USERNAME].decode()


@both
async def test_the_spelling_that_was_sent_comes_back(wire: Wire) -> None:
    lease = await begun(wire, begin([user("Eve")]))
    await wire.raw(COMMIT, settle(lease))
    assert [spelled(one) for one in await listed(wire)] == [("Eve", "Eve")]
    for asked in (sub(1, num(1, USERNAME) + sub(2, "eVE")), sub(2, sub(USERNAME, "EVE"))):
        record = dict(fields(dict(fields(await wire.raw(RECORD, asked)))[1]))
        assert spelled(record[2]) == ("Eve", "Eve")
    code, text = await wire.refused(BEGIN, begin([user("EVE")], cell=2))
    assert (code, "username:eve" in text) == ("ALREADY_EXISTS", True)
    assert await owner(wire, sub(USERNAME, "eve")) == b"cell-1.example.com"
    gone = await begun(wire, begin(destroys=[user("eVE")]))
    assert [spelled(one)[0] for one in await listed(wire)] == ["Eve"]
    await wire.raw(COMMIT, settle(gone))
    assert await listed(wire) == []
    assert await owner(wire, sub(USERNAME, "Eve")) is None


@both
async def test_a_classify_says_the_claim_as_it_was_asked(wire: Wire) -> None:
    await wire.raw(COMMIT, settle(await begun(wire, begin([user("Eve")]))))
    # ClassifyResponse: matched_claim=3.
    for asked in ("eve", "EVE", "Eve"):
        answer = await wire.raw("ClassifyService/Classify", sub(5, sub(USERNAME, asked)))
        assert dict(fields(answer))[3] == sub(USERNAME, asked)


@both
async def test_one_batch_changes_a_spelling_and_a_rollback_leaves_it(wire: Wire) -> None:
    await wire.raw(COMMIT, settle(await begun(wire, begin([user("Eve")]))))
    other = begin([user("EVE")], [user("Eve")])
    await wire.raw(ROLLBACK, settle(await begun(wire, other)))
    assert [spelled(one)[0] for one in await listed(wire)] == ["Eve"]
    await wire.raw(COMMIT, settle(await begun(wire, other)))
    assert [spelled(one)[0] for one in await listed(wire)] == ["EVE"]


async def verified(wire: Wire, local: dict[int, str], chunk: int) -> int:
    """GitLab's verification worker: what is stored and what the cell has, compared exactly.

    Extra records are destroyed and missing ones created, in chunks of their own; the number of
    records repaired.
    """
    found = {(dict(fields(one))[3], spelled(one)[0]): one for one in await listed(wire)}
    wanted = {
        (num(1, USERS) + sub(2, key_id(number)), name): user(name, number)
        for number, name in local.items()
    }
    extra = [found[key] for key in found.keys() - wanted.keys()]
    missing = [wanted[key] for key in wanted.keys() - found.keys()]
    for at in range(0, len(extra), chunk):
        lease = await begun(wire, begin(destroys=extra[at : at + chunk]))
        await wire.raw(COMMIT, settle(lease))
    for at in range(0, len(missing), chunk):
        lease = await begun(wire, begin(missing[at : at + chunk]))
        await wire.raw(COMMIT, settle(lease))
    return len(extra) + len(missing)


@both
async def test_verification_finds_no_drift_in_what_it_sent(wire: Wire) -> None:
    local = {1: "Eve", 2: "bob", 3: "CAROL", 4: "Stra\u00dfe", 5: "A\u0301", 6: " padded "}
    assert await verified(wire, local, 2) == 6
    assert await verified(wire, local, 2) == 0
    local |= {1: "EVE", 3: "carol"}
    assert await verified(wire, local, 1) == 4, "a spelling that changed is repaired"
    assert await verified(wire, local, 1) == 0, "once"


@both
async def test_a_number_in_text_is_spelled_as_it_was_sent(wire: Wire) -> None:
    both_ways = metadata(USER_ID, "007", source=(USERS, key_id(7)), extra=sub(5, num(USER_ID, 7)))
    await wire.raw(COMMIT, settle(await begun(wire, begin([both_ways]))))
    (record,) = await listed(wire)
    parts = dict(fields(record))
    assert (parts[1], parts[5]) == (num(1, USER_ID) + sub(2, "007"), num(USER_ID, 7))
    # As it came it goes back.
    await wire.raw(COMMIT, settle(await begun(wire, begin(destroys=[record]))))
    assert await listed(wire) == []


@pytest.mark.parametrize("value", ["8", "70", "", "0", "x7", "-7", "7 7"])
async def test_another_number_in_text_differs_from_the_claim(wire: Wire, value: str) -> None:
    record = metadata(USER_ID, value, source=(USERS, key_id(7)), extra=sub(5, num(USER_ID, 7)))
    code, text = await wire.refused(BEGIN, begin([record]))
    assert (code, "create_records[0].claim: it differs" in text) == ("INVALID_ARGUMENT", True)


async def test_a_nul_is_named(wire: Wire) -> None:
    code, text = await wire.refused(BEGIN, begin([user("E\x00ve")]))
    assert code == "INVALID_ARGUMENT"
    assert "create_records[0].value: 'E\\x00ve' holds a NUL character" in text


@both
async def test_the_first_service_keeps_the_spelling(wire: Wire) -> None:
    sent = details("My-Group")
    for method, request, options in (
        (CREATE, sub(1, sent), CELL_2),
        (GET, sub(1, num(1, 1) + sub(2, "MY-group")), {}),
    ):
        ((_, info),) = fields(await wire.raw(method, request, **options))
        assert dict(fields(info))[2] == sent
