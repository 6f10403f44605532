"""What a client has said and was sent: types, nonces, error texts, and who shares what."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, EDS
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.ledger import MAX_ERROR, MAX_UNSERVED, ProtocolError
from tests.xds.session.scripts import fleet


def request(type_url: str, *names: str, nonce: str = "", error: str | None = None) -> object:
    made = discovery_pb2.DeltaDiscoveryRequest(
        type_url=type_url, resource_names_subscribe=names, response_nonce=nonce
    )
    if error is not None:
        made.error_detail.message = error
    return made


def test_only_so_many_types_that_are_not_served_may_be_named() -> None:
    session = DeltaSession()
    for number in range(MAX_UNSERVED):
        assert session.on_request(request(f"type-{number}")) == []
        assert session.on_request(request(f"type-{number}")) == []
    with pytest.raises(ProtocolError, match="types that are not served"):
        session.on_request(request("one-more"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no\n \x1b[31mgood\t", "no   [31mgood"),
        ("", "refused without a word"),
        ("x" * 1_000_000, "x" * MAX_ERROR + "…"),
    ],
    ids=["control characters", "empty", "long"],
)
def test_an_error_text_is_one_line_of_bounded_length(text: str, shown: str) -> None:
    session = DeltaSession()
    session.on_snapshot(fleet(1, "a"))
    (response,) = session.on_request(request(CDS))
    session.on_request(request(CDS, nonce=response.nonce, error=text))
    assert session.nacks == [(CDS, shown)]


def test_an_answer_to_anything_but_the_outstanding_response_says_nothing() -> None:
    session = DeltaSession()
    session.on_snapshot(fleet(1, "a"))
    (response,) = session.on_request(request(CDS))
    session.on_request(request(CDS, nonce="another", error="no good"))
    assert session.nacks == []
    session.on_request(request(CDS, nonce=response.nonce))
    session.on_request(request(CDS, nonce=response.nonce, error="no good"))
    assert session.nacks == [], "it was acknowledged already"


def test_what_was_sent_and_not_answered_is_unsettled() -> None:
    session = DeltaSession()
    snapshot = fleet(1, "ab")
    session.on_snapshot(snapshot)
    (response,) = session.on_request(request(CDS))
    versions = {name: one.version for name, one in snapshot.of_type(CDS).items()}
    assert session.unsettled()[CDS].versions == versions
    session.on_request(request(CDS, nonce=response.nonce))
    assert not session.unsettled()[CDS]


def test_clients_that_name_everything_share_the_set_of_names() -> None:
    snapshot = fleet(1, "abc")
    sessions = [DeltaSession(), DeltaSession()]
    for session in sessions:
        session.on_snapshot(snapshot)
        session.on_request(request(EDS, "a", "b", "c"))
    names = [session._types[EDS].names for session in sessions]
    assert names[0] is names[1]
