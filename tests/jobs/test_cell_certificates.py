"""Names in certificates are matched by Envoy's rules (tests/e2e compares the two)."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane.jobs.cell_certificates import (
    MAX_TRUST_BYTES,
    check_name,
    dns_name_matches,
    trust_in,
)
from control_plane.topology.values.endpoint import ServerName
from tests.jobs.certificates import certificate


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a.example", "a.example", True),
        ("A.Example", "a.eXample", True),
        ("a.example", "b.example", False),
        ("*.example", "a.example", True),
        ("*.example", "a.b.example", False),
        ("*.example", "example", False),
        ("a*.example", "ab.example", True),
        ("a*.example", "a.example", True),
        ("*b.example", "ab.example", True),
        ("a*c.example", "abc.example", True),
        ("a*a.example", "a.example", False),
        ("*a*.example", "bab.example", False),
        ("a.*.example", "a.b.example", False),
        ("xn--*.example", "xn--a.example", False),
        ("*", "example", False),
    ],
)
def test_a_wildcard_stands_for_a_part_of_the_first_label(
    pattern: str, name: str, matches: bool
) -> None:
    assert dns_name_matches(name, pattern) is matches


class Peer:
    """A connection whose peer has a certificate with these names."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self._names = names

    def getpeercert(self) -> dict[str, Any]:
        return {"subjectAltName": self._names} if self._names else {}


@pytest.mark.parametrize(
    ("names", "wanted", "good"),
    [
        ([("DNS", "a.example")], "a.example", True),
        ([("DNS", "b.example"), ("DNS", "*.example")], "a.example", True),
        ([("IP Address", "127.0.0.1")], "127.0.0.1", True),
        ([("IP Address", "0:0:0:0:0:0:0:1")], "::1", True),
        ([("DNS", "127.0.0.1")], "127.0.0.1", False),
        ([("IP Address", "127.0.0.1")], "a.example", False),
        ([("IP Address", "no address")], "127.0.0.1", False),
        ([("URI", "a.example")], "a.example", False),
        ([], "a.example", False),
    ],
)
def test_a_name_is_looked_for_among_those_of_its_kind(
    names: list[tuple[str, str]], wanted: str, good: bool
) -> None:
    peer = cast("ssl.SSLObject", Peer(*names))
    name = ServerName(wanted, is_ip=not wanted.endswith("example"))
    if good:
        check_name(peer, name)
        return
    with pytest.raises(ssl.SSLCertVerificationError, match=wanted):
        check_name(peer, name)


def test_a_file_of_authorities_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    one, other = certificate(tmp_path)[0], certificate(tmp_path, "other.example")[0]
    file = tmp_path / "ca.pem"
    file.write_bytes(one.read_bytes())
    first = trust_in(str(file))
    assert trust_in(str(file)) is first
    file.write_bytes(other.read_bytes())
    os.utime(file, ns=(1, 1))
    assert trust_in(str(file)).get_ca_certs() != first.get_ca_certs()


def test_a_file_without_a_certificate_is_no_authority(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "text.pem").write_text("no certificate")
    for name in ("empty.pem", "text.pem", "nowhere.pem", "a" * 5000, "."):
        with pytest.raises(OSError):
            trust_in(str(tmp_path / name))


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/stdin", "/proc/self/maps"])
def test_what_may_be_read_for_ever_is_not_opened(file: str) -> None:
    with pytest.raises(OSError, match=r"it is no regular file|it does not have"):
        trust_in(file)


def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="it is no regular file"):
        trust_in(str(tmp_path / "fifo"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.pem").open("wb") as file:
        file.truncate(MAX_TRUST_BYTES + 1)
    with pytest.raises(OSError, match="it does not have 1 to"):
        trust_in(str(tmp_path / "large.pem"))
