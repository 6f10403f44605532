"""The addon sends a request to the same cell as Envoy, with several Host headers or none that fits."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import pytest
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow

from addons.admission import admitted as admitted_flow
from addons.forwarding import cell_headers, send_to
from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.model import Request
from tests.addons.mitmdump import mitmdump
from tests.support.host_cases import BLOCKS, CASES, Hosts, raw_request, seen, use_hosts
from tests.support.raw_http import RawConnection, RawResponse, exchange, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection
from tests.support.system import System

TIMEOUT_S = 20.0
Answer = RawResponse | Http2Refusal | None


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("hosts")) as running:
        use_hosts(running)
        yield running


@pytest.fixture(scope="module")
def reverse(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("reverse")
    with mitmdump(system, "reverse:http://127.0.0.1:1", directory) as port:
        yield port


@pytest.fixture(scope="module")
def lenient(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A mitmdump that does not itself refuse an HTTP/2 host header that differs from :authority."""
    more = ("--set", "validate_inbound_headers=false")
    directory = tmp_path_factory.mktemp("lenient")
    with mitmdump(system, "reverse:http://127.0.0.1:1", directory, *more) as port:
        yield port


@pytest.fixture(scope="module")
def regular(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with mitmdump(system, "regular", tmp_path_factory.mktemp("regular")) as port:
        yield port


def at_cell(answer: Answer) -> tuple[list[str], str]:
    """Return the Host headers and the path that the cell got; empty if no cell was asked."""
    if not isinstance(answer, RawResponse) or answer.header("x-example-cell") is None:
        return [], ""
    arrived = json.loads(answer.body)
    return [value for name, value in arrived["headers"] if name == "host"], arrived["path"]


def assert_same(ours: Answer, edges: Answer) -> None:
    assert seen(ours) == seen(edges)
    assert at_cell(ours) == at_cell(edges)


def ask(port: int, request: bytes) -> RawResponse | None:
    return exchange(("127.0.0.1", port), request, timeout_s=TIMEOUT_S)


def names_user(case: tuple[bytes, Hosts]) -> bool:
    return b"@" in case[0]


@pytest.mark.parametrize(("target", "hosts"), [case for case in CASES if not names_user(case)])
def test_a_reverse_proxy_decides_as_envoy(
    system: System, reverse: int, target: bytes, hosts: Hosts
) -> None:
    request = raw_request(target, hosts)
    assert_same(ask(reverse, request), ask(system.edge_port, request))


@pytest.mark.parametrize(("target", "hosts"), [case for case in CASES if names_user(case)])
def test_mitmproxy_itself_refuses_userinfo(reverse: int, target: bytes, hosts: Hosts) -> None:
    assert seen(ask(reverse, raw_request(target, hosts))) == "400"


def test_http10_is_refused(system: System, reverse: int) -> None:
    request = b"GET /x HTTP/1.0\r\nHost: a.asked\r\n\r\n"
    assert seen(ask(system.edge_port, request)) == seen(ask(reverse, request)) == "426"


ABSOLUTE = [case for case in CASES if case[0].startswith(b"http://b.")]
ABSOLUTE += [
    (target, hosts)
    for target in (b"http://B.asked/x", b"http://xn--bcher-kva.asked/x", b"http://[::1]:81/x")
    for hosts in ((), (b"a.asked",), (target[len("http://") : -len("/x")],))
]


@pytest.mark.parametrize(("target", "hosts"), ABSOLUTE)
def test_a_regular_proxy_decides_as_envoy(
    system: System, regular: int, target: bytes, hosts: Hosts
) -> None:
    request = raw_request(target, hosts)
    assert_same(ask(regular, request), ask(system.edge_port, request))


@pytest.mark.parametrize(("target", "hosts"), [case for case in CASES if not names_user(case)])
def test_a_tunnel_decides_as_envoy(
    system: System, regular: int, target: bytes, hosts: Hosts
) -> None:
    """The tunnel's target plays no part in the decision."""
    request = raw_request(target, hosts)
    with RawConnection(("127.0.0.1", regular), timeout_s=TIMEOUT_S) as connection:
        connection.send(request_bytes(b"a.native:80", method="CONNECT", host=b"a.native:80"))
        opened = connection.read_response(to_head=True)
        assert opened is not None
        assert opened.status == 200
        assert_same(connection.exchange(request), ask(system.edge_port, request))


@pytest.fixture(scope="module")
def unverified() -> ssl.SSLContext:
    """A client context for HTTP/2 that accepts mitmproxy's own certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize(("authority", "hosts"), BLOCKS)
def test_http2_is_decided_as_by_envoy(
    system: System,
    lenient: int,
    unverified: ssl.SSLContext,
    authority: bytes | None,
    hosts: Hosts,
) -> None:
    block = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x/../%78")]
    block += [(b":authority", authority)] if authority is not None else []
    block += [(b"host", host) for host in hosts]
    answers = []
    for port, tls in ((lenient, unverified), (system.edge_port, None)):
        with RawHttp2Connection(("127.0.0.1", port), timeout_s=TIMEOUT_S, tls=tls) as connection:
            answers.append(connection.exchange(block))
    assert_same(*answers)


def test_http2_cookies_are_joined() -> None:
    flow = tflow.tflow()
    flow.request.data.http_version = b"HTTP/2.0"
    flow.request.data.path, flow.request.data.authority = b"/x", b"a"
    flow.request.headers = http.Headers([(b"cookie", b"a=1"), (b"cookie", b"b=2")])
    wanted = admit("GET", b"/x", b"a", [("cookie", b"a=1; b=2")], version=HttpVersion.HTTP_2)
    assert admitted_flow(flow) == wanted


def test_a_replayed_flow_is_decided_by_its_host_not_by_its_former_target() -> None:
    flow = tflow.tflow()
    flow.server_conn.address = None
    flow.request.headers = http.Headers([(b"Host", b"a.example")])
    flow.request.data.host, flow.request.data.port = "127.0.0.1", 8080
    flow.is_replay = "request"
    assert admitted_flow(flow) == admit("GET", flow.request.data.path, b"a.example", [])


def test_an_upstream_proxy_is_asked_for_the_cell() -> None:
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = ProxyMode.parse("upstream:http://proxy.example:3128")
    flow.request.data.authority, flow.request.headers["Host"] = b"a.example", "b.example"
    admitted = admitted_flow(flow)
    assert isinstance(admitted, Request)
    headers = cell_headers(flow, admitted, "cell-1", "asked")
    send_to(flow, "127.0.0.1:81", admitted.path, headers, tls=False)
    assert flow.request.url == "http://127.0.0.1:81/path"
    assert (flow.request.authority, flow.request.host_header) == ("127.0.0.1:81", "a.example")


def test_a_method_in_lower_case_is_refused_as_sent() -> None:
    flow = tflow.tflow()
    flow.request.data.method = b"get"
    assert isinstance(admitted_flow(flow), Refused)
