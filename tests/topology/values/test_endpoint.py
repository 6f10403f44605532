"""How hosts, addresses and server names are read."""

from __future__ import annotations

import time

import pytest

from control_plane.topology.values import (
    CellSpec,
    CellTLS,
    Endpoint,
    Invalid,
    ServerName,
    address_problem,
)

GOOD = (
    "10.0.0.1",
    "[::1]",
    "[fe80::1]",
    "localhost",
    "a.test.",
    "_a.b-c.test",
    "a" * 63,
    "xn--a.b",
)
BAD = (
    *("[fe80::1%eth0]", "[::ffff:1.2.3.4]", "::1", "[10.0.0.1]", "127.1", "0x7f.1", "1.2.3", ""),
    *(".a", "a..b", "-a", "a-.b", "a" * 64, "a." * 130, "a b", "a\x00", "é.test", "*.test", "a/"),
)


@pytest.mark.parametrize("host", GOOD)
def test_hosts_that_dns_and_envoy_take(host: str) -> None:
    assert str(Endpoint.parse(f"{host}:65535")) == f"{host}:65535"
    assert address_problem(host) is None
    assert address_problem(f"{host}:1") is None


@pytest.mark.parametrize("host", BAD)
def test_hosts_that_are_refused_with_a_hint(host: str) -> None:
    with pytest.raises(Invalid) as refused:
        Endpoint.parse(f"{host}:1")
    (problem,) = refused.value.problems
    assert problem.hint
    assert address_problem(f"{host}:1") is not None


@pytest.mark.parametrize(
    "port", ["", "0", "65536", "-1", "+1", "1_0", "٣", " 1", "1:2", "9" * 5000]
)
def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(Invalid):
        Endpoint.parse(f"a:{port}")
    assert address_problem(f"a:{port}") is not None


@pytest.mark.parametrize("tail", ["/", "!", "-"])
def test_a_long_host_is_refused_at_once(tail: str) -> None:
    began = time.process_time()
    host = "gitlab-webservice-default.gitlab.svc.cluster.local" * 4 + tail
    for text in (host, "a" * 1000 + tail, "a." * 500 + tail, f"[{'1:' * 500}{tail}]"):
        assert address_problem(text) is not None
        with pytest.raises(Invalid):
            Endpoint.parse(f"{text}:1")
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    ("tls", "where"),
    [
        (CellTLS(".x"), "tls.server_name"),
        (CellTLS("a.test:443"), "tls.server_name"),
        (CellTLS("[::1]"), "tls.server_name"),
        (CellTLS("a\x00.test"), "tls.server_name"),
        (CellTLS(""), "tls.server_name"),
        (CellTLS("a" * 300), "tls.server_name"),
        (CellTLS(None, ""), "tls.ca_file"),
        (CellTLS(None, "/a\x00b"), "tls.ca_file"),
        (CellTLS(None, "/a\nb"), "tls.ca_file"),
        (CellTLS(None, "/\ud800"), "tls.ca_file"),
    ],
)
def test_tls_that_envoy_could_not_use_is_refused(tls: CellTLS, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        CellSpec("a", "a.test", (Endpoint("a.test", 1),), tls=tls).check()
    assert [problem.field for problem in refused.value.problems] == [where]


def test_a_server_name_from_before_hosts_were_checked_is_still_read() -> None:
    for text in ("[fe80::1%eth0]:1", "a..b", "::1", "[", "\x00", "a" * 500, "[::ffff:1.2.3.4]"):
        assert ServerName.of(text).text
