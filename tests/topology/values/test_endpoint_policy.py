"""No cell may be where an edge reaches something else than a cell."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy, networks

POLICY = EndpointPolicy(own_ports={8000})


@pytest.mark.parametrize(
    "endpoint",
    ["169.254.169.254:80", "169.254.170.2:80", "0.0.0.0:9000", "0.1.2.3:80", "[::]:80", "[fe80::1]:80",
     "224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "100.100.100.200:80", "168.63.129.16:80",
     "[fd00:ec2::254]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80",
     "127.0.0.1:8000", "127.9.9.9:8000", "[::1]:8000", "localhost:8000", "LOCALHOST.:8000", "a.localhost:8000",
     "[64:ff9b::7f00:1]:8000"],
)  # fmt: skip
def test_what_is_no_cell_is_denied(endpoint: str) -> None:
    assert POLICY.denial(Endpoint.parse(endpoint))


@pytest.mark.parametrize(
    "endpoint",
    ["10.0.0.1:80", "127.0.0.1:9000", "10.0.0.1:8000", "[fd12::1]:80", "cell.example:8000", "localhost:9000",
     "notlocalhost:8000", "8.8.8.8:443", "[2001:db8::1]:8000"],
)  # fmt: skip
def test_what_may_be_a_cell_is_allowed(endpoint: str) -> None:
    assert POLICY.denial(Endpoint.parse(endpoint)) is None


def test_only_what_is_allowed_is_if_networks_are_named() -> None:
    policy = EndpointPolicy(allowed=networks(["10.0.0.0/8"]), denied=networks(["10.9.0.0/16"]))
    assert policy.denial(Endpoint("10.1.0.1", 80)) is None
    assert policy.denial(Endpoint("10.9.0.1", 80))
    assert policy.denial(Endpoint("11.0.0.1", 80))
    assert policy.denial(Endpoint("::1", 80))


def test_ports_that_are_bound_later_are_denied_from_then_on() -> None:
    ports: set[int] = set()
    policy = EndpointPolicy(own_ports=ports)
    assert policy.denial(Endpoint("127.0.0.1", 8001)) is None
    ports.add(8001)
    assert policy.denial(Endpoint("127.0.0.1", 8001))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_form(address: ipaddress.IPv4Address) -> None:
    plain = POLICY.denial_of(address, 8000) is None
    number = int(address)
    carriers = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    for carrier in carriers:
        assert (POLICY.denial_of(ipaddress.IPv6Address(carrier), 8000) is None) == plain
