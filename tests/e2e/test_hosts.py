"""Several Host headers, or a Host that is not the target's: all parts decide by the same authority.

Envoy joins the Host headers of HTTP/1.1 with "," as it does with any; the authority of an
absolute-form target replaces them (RFC 9112 section 3.2.2); in HTTP/2, `:authority` goes before one
host header, and several of these are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Status, ToCell
from control_plane.routing.rules.parse import parse
from tests.support.raw_http import RawResponse, exchange, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection
from tests.support.system import System

HOSTS_RULES: dict[str, Any] = {
    "name": "hosts",
    "rules": [
        *(
            {
                "id": f"native-{cell}",
                "match": {"type": "host", "regexValue": regex},
                "action": "proxy",
                "proxy": {"cell": cell},
            }
            for cell, regex in (
                ("cell-1", r"^a\.native$"),
                ("cell-2", r"^b\.native$"),
                ("cell-3", r"^a\.native,b\.native$"),
            )
        ),
        {
            "id": "asked",
            "match": {"type": "host", "regexValue": r"^(?<host>.*\.asked)$"},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${host}"}]},
            "on_unknown": 404,
        },
    ],
}
CLAIMS = {"cell-1": "a.asked", "cell-2": "b.asked", "cell-3": "a.asked,b.asked"}
Hosts = tuple[bytes, ...]
CASES: list[tuple[bytes, Hosts]] = [
    (target, tuple(f"{host}.{tier}".encode() if host else b"" for host in hosts))
    for tier in ("native", "asked")
    for target in (b"/x", f"http://b.{tier}/x".encode(), f"http://u:p@b.{tier}:80/x".encode())
    for hosts in (("a",), ("b",), ("a", "b"), ("b", "a"), ("a", "a"), ("a", ""), ("", "b"), ())
]


def use_hosts(system: System) -> None:
    """Cells, claims and rules that tell hosts apart, by native rules and by the classifier."""
    system.add_cells()
    for cell, value in CLAIMS.items():
        system.claim(cell, f"tenant:{value}")
    system.use_ruleset(HOSTS_RULES)
    system.in_step()


@pytest.fixture(scope="module", params=["http", "grpc"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("hosts")
    asked: dict[str, Any] = {"classifier_protocol": request.param, "classifier_timeout_s": 10.0}
    with System(directory, **asked) as running:
        use_hosts(running)
        yield running


def expected(
    system: System,
    target: bytes,
    authority: bytes | None,
    hosts: Hosts,
    version: HttpVersion = HttpVersion.HTTP_1_1,
) -> str:
    """What the evaluator makes of it: a cell or a status."""
    headers = [("host", host) for host in hosts]
    admitted = admit("GET", target, authority, headers, version=version)
    if isinstance(admitted, Refused):
        return str(admitted.status)
    snapshot = system.plane.topology.snapshot()
    assert snapshot.ruleset is not None
    ruleset = parse(snapshot.ruleset.document)
    outcome = decide(
        ruleset, admitted, Cells(snapshot.cells), system.plane.topology.claims.owners_of
    ).outcome
    assert isinstance(outcome, ToCell | Status)
    return outcome.cell if isinstance(outcome, ToCell) else str(outcome.code)


def seen(response: RawResponse | Http2Refusal | None) -> str:
    """The cell that answered, or the edge's status; HTTP/2's refusals are 400 here."""
    if isinstance(response, Http2Refusal):
        return "400"
    assert response is not None
    cell = response.header("x-example-cell")
    return cell.decode() if cell is not None else str(response.status)


def raw_request(target: bytes, hosts: Hosts) -> bytes:
    return request_bytes(target, [("Host", host) for host in hosts], host=None)


def case_name(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "+".join(h.decode() for h in value)


@pytest.mark.parametrize(("target", "hosts"), CASES, ids=case_name)
def test_envoy_decides_as_the_evaluator(system: System, target: bytes, hosts: Hosts) -> None:
    wanted = expected(system, target, None, hosts)
    # Twice: by the classifier, and from the edge's cache.
    for _ in range(2):
        response = exchange(("127.0.0.1", system.edge_port), raw_request(target, hosts))
        assert seen(response) == wanted


def test_what_that_is(system: System) -> None:
    """Lest both be wrong alike."""
    for tier in (b"native", b"asked"):
        a, b = b"a." + tier, b"b." + tier
        assert expected(system, b"/x", None, (a, b)) == "cell-3"
        assert expected(system, b"/x", None, (b, a)) == "404"
        assert expected(system, b"http://%b/x" % b, None, (a,)) == "cell-2"
        assert expected(system, b"/x", None, ()) == "400"


@pytest.mark.parametrize("hosts", sorted({hosts for _, hosts in CASES if hosts}), ids=case_name)
def test_explain_says_what_envoy_does(system: System, hosts: Hosts) -> None:
    body = {"url": "/x", "headers": [["Host", host.decode()] for host in hosts]}
    said = system.write("POST", "/v1/explain", body)
    response = exchange(("127.0.0.1", system.edge_port), raw_request(b"/x", hosts))
    assert (said["cell"] or str(said["outcome"]["status"])) == seen(response)


BLOCKS: list[tuple[bytes | None, Hosts]] = [
    (
        f"{authority}.{tier}".encode() if authority else None,
        tuple(f"{host}.{tier}".encode() for host in hosts),
    )
    for tier in ("native", "asked")
    for authority in ("a", "b", None)
    for hosts in ((), ("a",), ("b",), ("a", "b"))
]


@pytest.mark.parametrize(("authority", "hosts"), BLOCKS)
def test_http2_decides_as_the_evaluator(
    system: System, authority: bytes | None, hosts: Hosts
) -> None:
    block = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x")]
    block += [(b":authority", authority)] if authority is not None else []
    block += [(b"host", host) for host in hosts]
    wanted = expected(system, b"/x", authority, hosts, HttpVersion.HTTP_2)
    for _ in range(2):
        with RawHttp2Connection(("127.0.0.1", system.edge_port)) as connection:
            assert seen(connection.exchange(block)) == wanted
