"""Hosts, domains and local parts: what each of them may look like (see also test_claim_key)."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.values.addresses import domain_name, host_name, local_part


@given(st.ip_addresses(v=6), st.sampled_from(["{}", "[{}]", "[{}]:443"]), st.booleans())
def test_an_ipv6_address_has_one_spelling(
    address: ipaddress.IPv6Address, form: str, exploded: bool
) -> None:
    text = address.exploded.upper() if exploded else str(address)
    assert host_name(form.format(text)) == f"[{address}]"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_itself(address: ipaddress.IPv4Address) -> None:
    assert host_name(f"{address}:80") == domain_name(f" {address}.") == str(address)


@pytest.mark.parametrize("value", ["0x7f.1", "1.2.3.04", "1.2.3.4.5", "2130706433", "a.0X1"])
def test_what_some_resolvers_take_for_an_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="no IPv4 address"):
        host_name(value)


@pytest.mark.parametrize("value", ["a.example:80", "[::1]", "::1", "a b", "", "."])
def test_a_domain_has_no_port_and_is_no_ipv6_address(value: str) -> None:
    with pytest.raises(ValueError, match=r"it has nothing|letters, digits"):
        domain_name(value)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ('"ann"', "ann"),
        ('"a\\nn"', "ann"),
        ('"a b"', '"a b"'),
        ('"a\\ b"', '"a b"'),
        ('"a\\"b"', '"a\\"b"'),
        ('"a@b"', '"a@b"'),
        ('""', '""'),
        ("a,b", "a,b"),
        ('"a,b"', "a,b"),
    ],
)
def test_quotes_stay_only_where_they_are_needed(value: str, normal: str) -> None:
    assert local_part(value) == normal == local_part(normal)


@pytest.mark.parametrize("value", ["a b", 'a"b', '"a', "a\\b", "(a)b", "a@b", '"a"b"', ""])
def test_a_local_part_needs_its_quotes(value: str) -> None:
    with pytest.raises(ValueError, match="outside of quotes"):
        local_part(value)


def test_long_foreign_text_takes_no_long_time() -> None:
    began = time.process_time()
    for value in ("a." * 50_000 + "!", "a" * 100_000 + "!", "1." * 50_000, '"' + "\\a" * 50_000):
        for rule in (host_name, domain_name, local_part):
            try:
                rule(value)
            except ValueError:
                continue
    assert time.process_time() - began < 1
