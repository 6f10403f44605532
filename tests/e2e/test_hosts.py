"""Several Host headers, or a Host that is not the target's: all parts decide by the same authority.

Envoy joins the Host headers of HTTP/1.1 with ",", as it joins others. The authority of an
absolute-form target replaces them (RFC 9112 section 3.2.2). In HTTP/2, `:authority` goes before one
host header, and several host headers are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Status, ToCell
from control_plane.routing.rules.parse import parse
from tests.support.host_cases import BLOCKS, CASES, Hosts, raw_request, seen, use_hosts
from tests.support.raw_http import exchange
from tests.support.raw_http2 import RawHttp2Connection
from tests.support.system import System


@pytest.fixture(scope="module", params=["http", "grpc"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("hosts")
    with System(directory, classifier_protocol=request.param) as running:
        use_hosts(running)
        yield running


def expected(
    system: System,
    target: bytes,
    authority: bytes | None,
    hosts: Hosts,
    version: HttpVersion = HttpVersion.HTTP_1_1,
) -> str:
    """Return what the evaluator decides: a cell or a status."""
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


def case_name(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "+".join(h.decode() for h in value)


@pytest.mark.parametrize(("target", "hosts"), CASES, ids=case_name)
def test_envoy_decides_like_the_evaluator(system: System, target: bytes, hosts: Hosts) -> None:
    wanted = expected(system, target, None, hosts)
    # Twice: by the classifier, and from the edge's cache.
    for _ in range(2):
        response = exchange(("127.0.0.1", system.edge_port), raw_request(target, hosts))
        assert seen(response) == wanted


def test_the_evaluator_joins_or_replaces_hosts_as_rfc_9112_says(system: System) -> None:
    """Without this test both could be wrong alike."""
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


@pytest.mark.parametrize(("authority", "hosts"), BLOCKS)
def test_http2_is_decided_like_the_evaluator(
    system: System, authority: bytes | None, hosts: Hosts
) -> None:
    block = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x")]
    block += [(b":authority", authority)] if authority is not None else []
    block += [(b"host", host) for host in hosts]
    wanted = expected(system, b"/x", authority, hosts, HttpVersion.HTTP_2)
    for _ in range(2):
        with RawHttp2Connection(("127.0.0.1", system.edge_port)) as connection:
            assert seen(connection.exchange(block)) == wanted
