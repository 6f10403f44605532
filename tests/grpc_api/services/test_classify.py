"""Classify and the cell lists: raw bytes from the field numbers, and our own generated client."""

from __future__ import annotations

import pytest

from control_plane.grpc_api.generated import classify_service_pb2, classify_service_pb2_grpc
from control_plane.grpc_api.generated.classify_service_pb2 import ClassifyRequest
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from tests.grpc_api.wire_client import ACTOR, Wire, fields, num, sub

CLASSIFY = "ClassifyService/Classify"


def proxied(cell: int, matched: bytes | None = None) -> bytes:
    """ClassifyResponse: action=1 PROXY(1), proxy=2 {address=1}, matched_claim=3."""
    answer = num(1, 1) + sub(2, sub(1, f"cell-{cell}.example.com"))
    return answer if matched is None else answer + sub(3, matched)


@pytest.mark.parametrize(
    ("request_bytes", "cell"),
    [
        (num(2, 1), 1),
        (num(2, 2) + sub(3, "cell-3"), 3),
        (num(2, 3) + sub(3, "2"), 2),
        (sub(3, "2") + num(2, 3), 2),
    ],
    ids=["first cell", "session prefix", "cell id", "fields in another order"],
)
async def test_static_types(wire: Wire, request_bytes: bytes, cell: int) -> None:
    assert await wire.raw(CLASSIFY, request_bytes) == proxied(cell)


@pytest.mark.parametrize("number", [4, 5], ids=["claim, older clients", "claims, newer clients"])
@pytest.mark.parametrize(
    ("claim", "cell"),
    [
        (sub(1, "gitlab-org"), 2),
        (sub(1, "GitLab-Org/"), 2),
        (sub(4, "Ann"), 3),
        (num(6, 278964), 3),
        (sub(18, "X-1.pages.example."), 1),
    ],
)
async def test_a_claim_of_either_generation(
    wire: Wire, number: int, claim: bytes, cell: int
) -> None:
    assert await wire.raw(CLASSIFY, sub(number, claim)) == proxied(cell, claim)


async def test_every_claim_type_has_its_number(wire: Wire) -> None:
    texts = {
        1: "route", 2: "organization_path", 3: "redirect_route", 4: "username", 5: "email",
        8: "gpg_key", 9: "ssh_key", 12: "service_desk_custom_email", 13: "gpg_key_fingerprint",
        15: "ssh_key_fingerprint", 17: "pages_domain", 18: "pages_unique_domain",
    }  # fmt: skip
    ids = {6: "project_id", 7: "namespace_id", 10: "user_id", 11: "organization_id", 16: "snippet_id"}  # fmt: skip
    domains = {17, 18}
    values = {number: "x.example" if number in domains else "v@x.example" for number in texts}
    specs = [ClaimSpec(word, values[number], "cell-2") for number, word in texts.items()]
    specs += [ClaimSpec(word, "77", "cell-2") for word in ids.values()]
    wire.topology.claims.claim(specs, actor=ACTOR)
    for number in texts:
        claim = sub(number, values[number])
        assert await wire.raw(CLASSIFY, sub(5, claim)) == proxied(2, claim)
    for number in ids:
        assert await wire.raw(CLASSIFY, sub(5, num(number, 77))) == proxied(2, num(number, 77))


async def test_the_first_claim_of_a_chain_that_is_owned_decides(wire: Wire) -> None:
    nobody, ann, project = sub(1, "nobody"), sub(4, "ann"), num(6, 278964)
    chain = sub(5, nobody) + sub(5, ann) + sub(5, sub(1, "gitlab-org"))
    assert await wire.raw(CLASSIFY, chain) == proxied(3, ann)
    assert await wire.raw(CLASSIFY, sub(5, project) + sub(5, ann)) == proxied(3, project)
    # A client between the generations sends both; a type beside claims does not count.
    assert await wire.raw(CLASSIFY, num(2, 1) + sub(4, ann) + chain) == proxied(3, ann)


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (b"", "INVALID_ARGUMENT", "invalid type UNSPECIFIED"),
        (sub(3, "cell-1"), "INVALID_ARGUMENT", "invalid type UNSPECIFIED"),
        (num(2, 9) + sub(3, "x"), "INVALID_ARGUMENT", "invalid type 9"),
        (num(2, 2), "INVALID_ARGUMENT", "value"),
        (num(2, 2) + sub(3, "cell-9"), "NOT_FOUND", "cell-9"),
        (num(2, 3) + sub(3, "9"), "NOT_FOUND", "'9'"),
        (num(2, 3) + sub(3, "01"), "NOT_FOUND", "'01'"),
        (sub(5, sub(1, "nobody")), "NOT_FOUND", "route:nobody"),
        (sub(5, sub(1, "x" * 5000)), "NOT_FOUND", "route:xxx"),
        (sub(5, num(6, -5)), "NOT_FOUND", "project_id:-5"),
        (sub(5, b""), "INVALID_ARGUMENT", "claims[0]: no claim is set"),
        (sub(4, b""), "INVALID_ARGUMENT", "claim: no claim is set"),
        (sub(5, sub(4, "ann")) + sub(5, sub(19, "jira")), "INVALID_ARGUMENT", "claims[1]: claim type 19"),
        (sub(4, sub(14, "a@b.example")), "INVALID_ARGUMENT", "claim: claim type 14"),
        (sub(4, sub(1, "a")) + sub(5, sub(1, "b")), "INVALID_ARGUMENT", "not one of claims"),
        (sub(5, sub(1, "n")) * 101, "INVALID_ARGUMENT", "101 claims"),
        (sub(5, sub(1, b"\xff")), "INVALID_ARGUMENT", "no gitlab.cells.topology_service.ClassifyRequest"),
        (b"\x0a\xff", "INVALID_ARGUMENT", "no gitlab.cells.topology_service.ClassifyRequest"),
    ],
)  # fmt: skip
async def test_refusals(wire: Wire, request_bytes: bytes, code: str, text: str) -> None:
    got = await wire.refused(CLASSIFY, request_bytes)
    assert got[0] == code
    assert text in got[1]


async def test_fields_of_newer_clients_beside_the_known_ones_do_no_harm(wire: Wire) -> None:
    claim = sub(4, "ann")
    assert await wire.raw(CLASSIFY, sub(5, claim) + sub(900, "new")) == proxied(3, claim)
    newer = claim + num(900, 7)
    # Kept, as the encoding demands of one who passes a message on.
    assert await wire.raw(CLASSIFY, sub(5, newer)) == proxied(3, newer)


async def test_changes_are_seen_at_once(wire: Wire) -> None:
    wire.topology.claims.claim([ClaimSpec("route", "fresh", "cell-1")], actor=ACTOR)
    assert await wire.raw(CLASSIFY, sub(5, sub(1, "fresh"))) == proxied(1, sub(1, "fresh"))
    retired = CellState.RETIRED
    wire.topology.cells.set_state("cell-2", retired, actor=ACTOR, force=True, reason="test")
    # Its claims are still in the table, and route nowhere.
    assert (await wire.refused(CLASSIFY, sub(5, sub(1, "gitlab-org"))))[0] == "NOT_FOUND"
    assert (await wire.refused(CLASSIFY, num(2, 3) + sub(3, "2")))[0] == "NOT_FOUND"


ONE = num(1, 1) + sub(3, "cell-1.example.com") + sub(4, "cell-1")
ONE += sub(5, num(1, 1) + num(2, 10**12 - 1)) + sub(6, num(1, 1) + num(2, 10**12 - 1))
TWO = num(1, 2) + sub(3, "cell-2.example.com") + sub(4, "cell-2")
THREE = num(1, 3) + sub(3, "cell-3.example.com") + sub(4, "cell-3")
THREE += sub(5, num(1, 10**12) + num(2, 11 * 10**11 - 1))
THREE += sub(6, num(1, 10**12) + num(2, 11 * 10**11 - 1)) + sub(
    6, num(1, 2 * 10**12) + num(2, 2**62)
)


@pytest.mark.parametrize("service", ["ClassifyService", "SequenceService"])
async def test_get_cells(wire: Wire, service: str) -> None:
    assert await wire.raw(f"{service}/GetCells") == sub(1, ONE) + sub(1, TWO) + sub(1, THREE)


async def test_get_cell(wire: Wire) -> None:
    assert await wire.raw("CellService/GetCell", num(2, 3)) == sub(1, THREE)
    for unknown in (b"", num(2, 4), num(2, -1)):
        assert (await wire.refused("CellService/GetCell", unknown))[0] == "NOT_FOUND"


async def test_old_probes(wire: Wire) -> None:
    assert await wire.raw("HealthService/ReadinessProbe") == b""
    assert await wire.raw("HealthService/LivenessProbe") == b""


async def test_our_generated_client(wire: Wire) -> None:
    stub = classify_service_pb2_grpc.ClassifyServiceStub(wire.channel)
    answer = await stub.Classify(
        ClassifyRequest(claims=[Claim(redirect_route="no"), Claim(project_id=278964)])
    )
    assert answer.action == classify_service_pb2.PROXY
    assert answer.proxy.address == "cell-3.example.com"
    assert answer.matched_claim == Claim(project_id=278964)
    old = await stub.Classify(ClassifyRequest(claim=Claim(username="ann")))
    assert old.proxy.address == "cell-3.example.com"


async def test_calls_are_counted_by_method_and_status(wire: Wire) -> None:
    await wire.raw(CLASSIFY, num(2, 1))
    await wire.refused(CLASSIFY, b"")

    def count(code: str) -> float | None:
        labels = {"method": "/gitlab.cells.topology_service.ClassifyService/Classify", "code": code}
        return wire.registry.get_sample_value("cellway_grpc_seconds_count", labels)

    assert (count("OK"), count("INVALID_ARGUMENT")) == (1, 1)


def test_fields_reads_what_num_and_sub_write() -> None:
    assert fields(num(2, 300) + sub(5, "é")) == [(2, 300), (5, "é".encode())]
