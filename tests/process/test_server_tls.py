"""The server's files of TLS: what can't be used is told, and never replaces what could."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from control_plane.process.server_tls import ServerTls
from tests.support.certificates import Authority, Pair, replace


def stored(directory: Path, pair: Pair) -> tuple[Path, Path]:
    files = directory / "c.pem", directory / "k.pem"
    replace(files[0], pair.certificate)
    replace(files[1], pair.key)
    return files


def test_a_file_that_is_missing_or_belongs_to_another_is_named(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = stored(tmp_path, authority.sign(dns=("a",)))
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        ServerTls(certificate, tmp_path / "none.pem")
    key.write_bytes(authority.sign(dns=("a",)).key)
    with pytest.raises(OSError, match=r"c\.pem and .*k\.pem are no certificate and its key"):
        ServerTls(certificate, key)


def test_a_key_with_a_password_is_told_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    certificate, key = stored(tmp_path, Authority().sign(dns=("a",)))
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    key.write_bytes(locked)
    with pytest.raises(OSError, match=r"the key needs a password; store it without one"):
        ServerTls(certificate, key)


def test_what_can_not_be_used_is_logged_once_and_the_last_good_files_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = stored(tmp_path, Authority().sign(dns=("a",)))
    tls = ServerTls(certificate, key)
    with caplog.at_level(logging.ERROR):
        tls.reload()
        assert not caplog.text
        replace(key, b"nonsense")
        tls.reload()
        tls.reload()
    assert caplog.text.count("the new certificate is not used") == 1
    caplog.clear()
    stored(tmp_path, Authority("another").sign(dns=("a",)))
    tls.reload()
    assert not caplog.text
