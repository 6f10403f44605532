"""Addresses by name and family, and ports that one system has alone."""

from __future__ import annotations

import errno
import json
import socket

import pytest

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.process.listening import bind, check_free, numeric, port_of, reachable, reserve


@pytest.mark.parametrize(("host", "address"), [
    ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0:0:0:0:0:0:0:1", "::1"),
    ("localhost", "127.0.0.1"), ("::", "::"),
])  # fmt: skip
def test_a_host_is_an_address(host: str, address: str) -> None:
    assert numeric(host) == address


@pytest.mark.parametrize("host", ["no.such.invalid", "a" * 64 + ".example", "[::1]"])
def test_a_host_without_an_address_is_told(host: str) -> None:
    with pytest.raises(OSError, match="is no address of this machine"):
        numeric(host)


def test_a_wildcard_is_reached_by_loopback() -> None:
    wildcard = ["0.0.0.0", "::", "localhost", "::1"]
    assert [reachable(host) for host in wildcard] == ["127.0.0.1", "::1", "127.0.0.1", "::1"]


@pytest.mark.parametrize("by", ["127.0.0.1", "::1"])
def test_both_families_reach_the_ipv6_wildcard(by: str) -> None:
    with bind("::", 0) as sock, socket.create_connection((by, port_of(sock)), timeout=10):
        pass


def listening_as_envoy(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


def test_a_reserved_port_is_for_one_system_and_its_envoy() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = port_of(reserved)
        for take in (reserve, bind, check_free):
            with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken"):
                take("127.0.0.1", port, "--this")
        with pytest.raises(OSError) as failed, reserve("0.0.0.0", port):
            pass
        assert failed.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)
        with listening_as_envoy(port), listening_as_envoy(port):
            for _ in range(20):
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with listening_as_envoy(port):
        with pytest.raises(OSError, match="is taken"):
            reserve("127.0.0.1", port)
        with reserve("127.0.0.1", port, beside=True), pytest.raises(OSError, match="is taken"):
            reserve("127.0.0.1", port)
    reserve("127.0.0.1", port).close()


@pytest.mark.parametrize(("host", "kind"), [
    ("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("localhost", "STRICT_DNS"),
])  # fmt: skip
def test_an_envoy_asks_no_dns_for_an_address(host: str, kind: str) -> None:
    document = json.loads(compile_bootstrap(FleetMember("n", "g", (host, 1), ("127.0.0.1", 0))))
    (cluster,) = document["staticResources"]["clusters"]
    assert cluster.get("type", "STATIC") == kind
    assert cluster["dnsLookupFamily"] == "ALL"
