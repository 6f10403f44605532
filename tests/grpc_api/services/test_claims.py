"""claims.v1.ClaimService by raw bytes from the field numbers, and by our generated client."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from google.protobuf import any_pb2, timestamp_pb2

from control_plane.grpc_api.generated.cell_info_pb2 import GetCellsRequest
from control_plane.grpc_api.generated.claims.v1 import messages_pb2 as pb
from control_plane.grpc_api.generated.claims.v1 import service_pb2, service_pb2_grpc
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.grpc_api.services.claims import fitting
from tests.grpc_api.claims_messages import (
    BEGIN,
    COMMIT,
    LEASES,
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
from tests.grpc_api.wire_client import Wire, fields, num, sub


@both
async def test_create_commit_and_destroy(wire: Wire) -> None:
    route = sub(1, "new-group")
    lease = await begun(
        wire, begin([metadata(1, "new-group"), metadata(10, "55", source=(1, key_id(55)))], cell=2)
    )
    assert await owner(wire, route) == b"cell-2.example.com", "visible from BeginUpdate on"
    assert await wire.raw(COMMIT, settle(lease, 2)) == b""
    assert await wire.raw(COMMIT, settle(lease, 2)) == b"", "idempotent"
    assert await owner(wire, num(10, 55)) == b"cell-2.example.com"

    gone = await begun(wire, begin(destroys=[metadata(1, "new-group")], cell=2))
    assert await owner(wire, route) == b"cell-2.example.com", "routes until it is committed"
    assert await wire.raw(COMMIT, settle(gone, 2)) == b""
    assert await owner(wire, route) is None


@both
async def test_rollback(wire: Wire) -> None:
    lease = await begun(wire, begin([metadata(4, "Bob")]))
    assert await wire.raw(ROLLBACK, settle(lease.upper())) == b""
    assert await wire.raw(ROLLBACK, settle(lease)) == b""
    assert await owner(wire, sub(4, "bob")) is None
    code, text = await wire.refused(COMMIT, settle(lease))
    assert (code, "rolled back" in text) == ("FAILED_PRECONDITION", True)


@both
async def test_a_record_has_every_field_of_the_facts(wire: Wire) -> None:
    user_data = sub(1, "type.googleapis.com/x.Y") + sub(2, b"\x08\x01")
    newer = num(1, 77) + num(2, 9)
    record = (
        sub(1, num(1, 13) + sub(2, "AB:cd"))
        + sub(2, newer)
        + sub(3, num(1, 99) + sub(2, key_id(5)))
    )
    before = int(time.time()) - 1
    lease = await begun(wire, begin([record + sub(4, user_data)], cell=3))

    async def read(request: bytes) -> tuple[dict[int, Any], list[tuple[int, Any]]]:
        answer = fields(await wire.raw(RECORD, request))
        assert [number for number, _ in answer] == [1, 2], "record, cell_info"
        assert dict(fields(answer[1][1]))[1] == 3
        return dict(fields(answer[0][1])), fields(answer[0][1])

    # By bucket=1 and by claim=2.
    found, order = await read(sub(1, num(1, 13) + sub(2, "AB:cd")))
    assert (await read(sub(2, sub(13, "AB:cd"))))[0] == found
    assert [number for number, _ in order] == [1, 2, 3, 4, 5, 6, 7]
    assert len(dict(fields(found[1]))[1]) == 36
    assert (found[3], found[4]) == (3, 2), "cell_id, LEASE_CREATING"
    assert found[5] == sub(1, lease)
    for stamp in (6, 7):
        assert before <= dict(fields(found[stamp]))[1] <= time.time() + 1
    # metadata: bucket, subject, source, user_data, claim; types of newer clients are kept.
    assert fields(found[2]) == [
        (1, num(1, 13) + sub(2, "AB:cd")),
        (2, newer),
        (3, num(1, 99) + sub(2, key_id(5))),
        (4, user_data),
        (5, sub(13, "AB:cd")),
    ]
    await wire.raw(COMMIT, settle(lease, 3))
    settled = (await read(sub(1, num(1, 13) + sub(2, "AB:cd"))))[0]
    assert (settled[4], 5 in settled) == (1, False), "ACTIVE, without a lease"
    await begun(wire, begin(destroys=[metadata(13, "AB:cd")], cell=3))
    assert (await read(sub(2, sub(13, "AB:cd"))))[0][4] == 3, "LEASE_DESTROYING"


async def test_newer_clients_may_name_a_record_by_claim_only(wire: Wire) -> None:
    by_claim = sub(2, num(1, 4) + num(2, 7)) + sub(5, num(10, 7))
    await wire.raw(COMMIT, settle(await begun(wire, begin([by_claim]))))
    assert await owner(wire, num(10, 7)) == b"cell-1.example.com"
    doubly = metadata(10, "7", source=(1, key_id(7)), extra=sub(5, num(10, 7)))
    await wire.raw(COMMIT, settle(await begun(wire, begin(destroys=[doubly]))))
    assert await owner(wire, num(10, 7)) is None


async def test_the_integer_keys_of_older_clients_are_the_bytes_of_newer_ones(wire: Wire) -> None:
    # Source.rails_primary_key_id was an int64 under the same number.
    old = sub(1, num(1, 10) + sub(2, "300")) + sub(3, num(1, 1) + num(2, 300))
    await wire.raw(COMMIT, settle(await begun(wire, begin([old]))))
    request = num(1, 1) + num(2, 1) + sub(4, key_id(299)) + sub(5, key_id(300))
    ((_, record),) = fields(await wire.raw(RECORDS, request))
    assert dict(fields(dict(fields(record))[2]))[3] == num(1, 1) + sub(2, key_id(300))
    strange = sub(1, num(1, 10) + sub(2, "301")) + sub(3, num(1, 1) + b"\x11" + b"\x00" * 8)
    code, text = await wire.refused(BEGIN, begin([strange]))
    assert (code, "rails_primary_key_id" in text) == ("INVALID_ARGUMENT", True)


@both
async def test_a_begin_repeated_with_its_key_gives_the_same_lease(wire: Wire) -> None:
    key = {"metadata": (("idempotency-key", "op-1"),)}
    request = begin([metadata(1, "once")])
    lease = await begun(wire, request, **key)
    assert await begun(wire, request, **key) == lease
    code, text = await wire.refused(BEGIN, begin([metadata(1, "other")]), **key)
    assert (code, "idempotency-key" in text) == ("INVALID_ARGUMENT", True)
    code, _ = await wire.refused(BEGIN, request)
    assert code == "ALREADY_EXISTS", "without the key: what GitLab's service says"
    long = {"metadata": (("idempotency-key", "k" * 300),)}
    assert (await wire.refused(BEGIN, request, **long))[0] == "INVALID_ARGUMENT"


REFUSALS = [
    (BEGIN, begin([metadata(1, "gitlab-org")]), "ALREADY_EXISTS", "route:gitlab-org"),
    (BEGIN, begin([metadata(1, "x")], cell=9), "NOT_FOUND", "cell '9'"),
    (BEGIN, begin([metadata(1, "x")], cell=2**40), "NOT_FOUND", "cell"),
    (BEGIN, begin([metadata(1, "x")], cell=0), "INVALID_ARGUMENT", "cell_id"),
    (BEGIN, begin(destroys=[metadata(1, "nobody")]), "NOT_FOUND", "route:nobody"),
    (BEGIN, begin(destroys=[metadata(4, "ann")], cell=2), "FAILED_PRECONDITION", "cell-3 owns it"),
    (BEGIN, begin(), "INVALID_ARGUMENT", "0 records"),
    (BEGIN, begin([metadata(1, f"r{i}") for i in range(1001)]), "INVALID_ARGUMENT", "1001 records"),
    (BEGIN, begin([metadata(1, "a"), metadata(19, "b")]), "INVALID_ARGUMENT", "create_records[1].bucket.type: bucket type 19"),
    (BEGIN, begin([metadata(1, "a")], [metadata(14, "b")]), "INVALID_ARGUMENT", "destroy_records[0].bucket.type: bucket type 14"),
    (BEGIN, begin([metadata(0, "a")]), "INVALID_ARGUMENT", "bucket type 0"),
    (BEGIN, begin([sub(5, sub(19, "x"))]), "INVALID_ARGUMENT", "create_records[0].claim: claim type 19"),
    (BEGIN, begin([metadata(1, "a", extra=sub(5, sub(1, "b")))]), "INVALID_ARGUMENT", "differs from bucket"),
    (BEGIN, begin([b""]), "INVALID_ARGUMENT", "create_records[0].bucket: it is missing"),
    (BEGIN, begin([metadata(1, "")]), "INVALID_ARGUMENT", "create_records[0]"),
    (BEGIN, begin([metadata(6, "x")]), "INVALID_ARGUMENT", "project_id"),
    (BEGIN, begin([metadata(6, "5", source=(1, key_id(5)))]), "INVALID_ARGUMENT", "source type 1"),
    (BEGIN, begin([metadata(1, "n" * 2000)]), "INVALID_ARGUMENT", "2000 bytes"),
    (COMMIT, settle("8b8ba8d5-0b6c-4ba5-8b8e-0c0f3a7b3a11"), "NOT_FOUND", "lease"),
    (ROLLBACK, settle("8b8ba8d5-0b6c-4ba5-8b8e-0c0f3a7b3a11"), "NOT_FOUND", "lease"),
    (COMMIT, settle("x"), "INVALID_ARGUMENT", "no UUID"),
    (COMMIT, num(1, 1), "INVALID_ARGUMENT", "lease_uuid"),
    (RECORD, b"", "INVALID_ARGUMENT", "bucket: it is missing"),
    (RECORD, sub(2, sub(1, "nobody")), "NOT_FOUND", "route:nobody"),
    (RECORD, sub(2, sub(19, "x")), "INVALID_ARGUMENT", "claim type 19"),
    (RECORD, sub(1, num(1, 6) + sub(2, "-1")), "INVALID_ARGUMENT", "project_id"),
    (LEASES, b"", "INVALID_ARGUMENT", "cell_id"),
    (LEASES, num(1, 1) + num(3, 0), "INVALID_ARGUMENT", "limit"),
    (LEASES, num(1, 1) + sub(2, sub(1, "type.googleapis.com/x.Y")), "INVALID_ARGUMENT", "next"),
    (LEASES, num(1, 1) + sub(4, num(1, 2**60)), "INVALID_ARGUMENT", "created_after"),
    (RECORDS, num(1, 1), "INVALID_ARGUMENT", "source_type"),
    (RECORDS, num(1, 1) + num(2, 3) + num(3, 40), "INVALID_ARGUMENT", "bucket type 40"),
    (RECORDS, num(1, 1) + num(2, 3) + num(6, 40), "INVALID_ARGUMENT", "claim_types: bucket type 40"),
    (RECORDS, num(1, 1) + num(2, 3) + num(3, 1) + num(6, 2), "INVALID_ARGUMENT", "differ"),
    (BEGIN, begin([sub(1, num(1, 1) + sub(2, "x")) + sub(2, num(1, -1))]), "INVALID_ARGUMENT", "subject_type"),
    (BEGIN, begin([sub(1, num(1, 1) + sub(2, "x")) + sub(2, num(2, -1))]), "INVALID_ARGUMENT", "subject_id"),
    (BEGIN, begin([sub(1, num(1, 1) + sub(2, "x")) + sub(3, sub(2, b"k" * 300))]), "INVALID_ARGUMENT", "source_id"),
    (LEASES, num(1, 2**62), "NOT_FOUND", "cell"),
    (RECORDS, num(1, 2**62) + num(2, 1), "NOT_FOUND", "cell"),
    (RECORDS, num(1, 1) + num(2, -1), "INVALID_ARGUMENT", "source_type"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "request_bytes", "code", "text"), REFUSALS)
async def test_refusals(
    wire: Wire, method: str, request_bytes: bytes, code: str, text: str
) -> None:
    got = await wire.refused(method, request_bytes)
    assert got[0] == code, got[1]
    assert text in got[1]


@pytest.mark.parametrize("wire", ["postgresql"], indirect=True)
async def test_refusals_are_the_same_on_postgresql(wire: Wire) -> None:
    for method, request, code, text in REFUSALS:
        got = await wire.refused(method, request)
        assert (got[0], text in got[1]) == (code, True), got


@both
async def test_what_a_lease_holds_is_locked(wire: Wire) -> None:
    await begun(wire, begin(destroys=[metadata(1, "gitlab-org")], cell=2))
    for request in (
        begin([metadata(1, "gitlab-org")]),
        begin(destroys=[metadata(1, "GitLab-Org")], cell=2),
    ):
        code, text = await wire.refused(BEGIN, request)
        assert (code, "try later" in text) == ("FAILED_PRECONDITION", True)
    lease = await begun(wire, begin([metadata(1, "mine")]))
    assert (await wire.refused(COMMIT, settle(lease, 2)))[0] == "NOT_FOUND", "another cell's"


@both
async def test_a_refusal_of_a_thousand_names_fits_a_trailer(wire: Wire) -> None:
    batch = [metadata(1, f"группа-{number}") for number in range(1000)]
    await begun(wire, begin(batch))
    code, text = await wire.refused(BEGIN, begin(batch, cell=2))
    assert (code, text[-1]) == ("ALREADY_EXISTS", "…")


@both
async def test_leases_are_paged(wire: Wire) -> None:
    made = sorted([await begun(wire, begin([metadata(1, f"l{i}")])) for i in range(5)])
    await begun(wire, begin([metadata(1, "other")], cell=2))
    seen: list[str] = []
    request = num(1, 1) + num(3, 2)
    sizes = []
    while True:
        answer = fields(await wire.raw(LEASES, request))
        page = [value for number, value in answer if number == 1]
        # LeaseRecord: uuid=1 {value=1}, created_at=2, updated_at=3.
        assert all([number for number, _ in fields(one)] == [1, 2, 3] for one in page)
        seen += [dict(fields(dict(fields(one))[1]))[1].decode() for one in page]
        sizes.append(len(page))
        following = [value for number, value in answer if number == 2]
        if not following:
            break
        # An Any, given back as it came.
        request = num(1, 1) + num(3, 2) + sub(2, following[0])
    assert (seen, sizes) == (made, [2, 2, 1])
    # What clients warm up with: nothing was created in the future.
    assert await wire.raw(LEASES, num(1, 1) + num(3, 1) + sub(4, num(1, 4 * 10**9))) == b""
    everything = await wire.raw(LEASES, num(1, 1) + num(3, 10**6) + sub(4, num(1, 1)))
    assert len(fields(everything)) == 5


@both
async def test_records_are_listed_by_primary_key(wire: Wire) -> None:
    users = [
        metadata(bucket, value, source=(1, key_id(number)))
        for number in (1, 2, 300, 70000)
        for bucket, value in ((10, str(number)), (4, f"user-{number}"))
    ]
    lease = await begun(wire, begin([*users, metadata(1, "r", source=(3, key_id(2)))]))
    await wire.raw(COMMIT, settle(lease))

    async def listed(request: bytes) -> list[tuple[int, bytes]]:
        found = []
        for number, record in fields(await wire.raw(RECORDS, num(1, 1) + num(2, 1) + request)):
            assert number == 1, "not truncated"
            parts = dict(fields(dict(fields(record))[2]))
            (_, primary), bucket = fields(parts[3])[1], fields(parts[1])
            found.append((struct.unpack(">Q", primary)[0], bucket[1][1]))
        return found

    everything = [
        (number, text)
        for number in (1, 2, 300, 70000)
        for text in (str(number).encode(), f"user-{number}".encode())
    ]
    assert await listed(b"") == everything
    # source_id_gt=4, source_id_lte=5; bucket_types=3 plain and packed; claim_types=6.
    assert await listed(sub(4, key_id(1)) + sub(5, key_id(300))) == everything[2:6]
    users_only = [pair for pair in everything if pair[1].startswith(b"user")]
    for only in (num(3, 4), sub(3, b"\x04"), num(6, 4), num(3, 4) + num(6, 4)):
        assert await listed(only) == users_only
    assert await listed(sub(3, b"\x04\x0a")) == everything
    assert await wire.raw(RECORDS, num(1, 2) + num(2, 1)) == b""
    assert await wire.raw(RECORDS, num(1, 1) + num(2, 99)) == b"", "a source of newer clients"


@both
async def test_long_lists_are_cut_and_gone_through(wire: Wire) -> None:
    for start in range(0, 2400, 800):
        batch = [
            metadata(10, str(n + 1), source=(1, key_id(n // 3))) for n in range(start, start + 800)
        ]
        await wire.raw(COMMIT, settle(await begun(wire, begin(batch))))
    after, seen = b"", 0
    for _ in range(10):
        cursor = sub(4, after) if after else b""
        answer = fields(await wire.raw(RECORDS, num(1, 1) + num(2, 1) + cursor))
        records = [record for number, record in answer if number == 1]
        seen += len(records)
        if (2, 1) not in answer:
            break
        last = fields(dict(fields(dict(fields(records[-1]))[2]))[3])[1][1]
        assert last > after, "the cursor advances"
        after = last
    assert seen == 2400


def test_an_answer_is_cut_between_primary_keys() -> None:
    def record(key: int, size: int) -> pb.Record:
        made = pb.Record()
        made.metadata.source.rails_primary_key_id = key_id(key)
        made.metadata.bucket.value = "x" * size
        return made

    some = [record(1, 900), record(1, 900), record(2, 900), record(2, 900), record(3, 10)]
    assert fitting(some, 10_000) == 5
    assert fitting(some, 3_600) == 2, "not within the records of key 2"
    assert fitting(some, 100) == 2, "a first key is whole, or the client would stand still"
    assert fitting(some[:2], 100) == 2
    assert fitting([], 100) == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        num(1, 1) + num(4, 100),
        num(1, 1) + num(2, 1) + num(4, 100),
        num(1, 1) + num(2, 1) + sub(3, sub(1, "type.googleapis.com/x.Y") + sub(2, b"abc")),
        num(1, 1) + num(2, 1) + sub(3, sub(1, "type.googleapis.com/x.Y")) + num(4, 100),
    ],
    ids=["limit", "limit, source", "next", "both"],
)
async def test_list_records_of_early_clients_is_refused_by_name(
    wire: Wire, request_bytes: bytes
) -> None:
    code, text = await wire.refused(RECORDS, request_bytes)
    assert (code, "newer client" in text) == ("INVALID_ARGUMENT", True)


async def test_our_generated_client(wire: Wire) -> None:
    stub = service_pb2_grpc.ClaimServiceStub(wire.channel)
    user_data = any_pb2.Any()
    user_data.Pack(timestamp_pb2.Timestamp(seconds=5))
    record = pb.Metadata(
        bucket=pb.Bucket(type=pb.Bucket.USERNAMES, value="eve"),
        subject=pb.Subject(type=pb.Subject.USER, id=9),
        source=pb.Source(type=pb.Source.RAILS_TABLE_USERS, rails_primary_key_id=key_id(9)),
        user_data=user_data,
    )
    begun = await stub.BeginUpdate(
        service_pb2.BeginUpdateRequest(create_records=[record], cell_id=1)
    )
    leases = await stub.ListLeases(service_pb2.ListLeasesRequest(cell_id=1))
    assert [one.uuid for one in leases.leases] == [begun.lease_uuid]
    assert not leases.HasField("next")
    await stub.CommitUpdate(service_pb2.CommitUpdateRequest(cell_id=1, lease_uuid=begun.lease_uuid))
    found = await stub.GetRecord(service_pb2.GetRecordRequest(claim=Claim(username="eve")))
    assert found.cell_info.id == 1
    record.claim.username = "eve"
    assert found.record.metadata == record
    assert len((await stub.GetCells(GetCellsRequest())).cells) == 3
