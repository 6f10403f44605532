"""Files of certificates that are replaced, in part or as a whole, and files that are none."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from control_plane.process import pem_files
from control_plane.process.pem_files import MAX_PEM_BYTES, Replaceable
from tests.support.certificates import Authority, replace

AUTHORITY = Authority()


def write(folder: Path, *names: str) -> None:
    pair = AUTHORITY.sign()
    for name, content in (("crt", pair.certificate), ("key", pair.key)):
        if name in names:
            replace(folder / f"tls.{name}", content)


def test_what_fits_together_replaces_what_was_read_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    failures: list[int] = []

    def read() -> bytes:
        pem_files.check_pair(certificate, key)
        return pem_files.content("certificate", certificate)

    write(tmp_path, "crt", "key")
    files = Replaceable((certificate, key), read, lambda: failures.append(1))
    assert files.first == certificate.read_bytes()
    assert files.replaced() is None
    write(tmp_path, "crt")
    with caplog.at_level(logging.ERROR):
        assert [files.replaced() for _ in range(3)] == [None] * 3
    assert (caplog.text.count("the old TLS files stay"), failures) == (1, [1])
    key.unlink()
    assert [files.replaced() for _ in range(3)] == [None] * 3
    assert failures == [1, 1]
    write(tmp_path, "crt", "key")
    assert files.replaced() == certificate.read_bytes()
    assert files.replaced() is None


def test_files_that_are_replaced_while_they_are_read_are_read_later(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(b"1")
    during: list[bytes] = []

    def read() -> bytes:
        content = file.read_bytes()
        for one in during:
            replace(file, one)
        return content

    files = Replaceable((file,), read, lambda: None)
    replace(file, b"2")
    during.append(b"3")
    assert files.replaced() is None
    during.clear()
    assert files.replaced() == b"3"


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_PEM_BYTES + 1)
    for name, why in (
        ("fifo", "no regular file"),
        ("large", "more than"),
        ("none", "No such file"),
        ("", "Is a directory"),
        ("a\0b", "null"),
    ):
        with pytest.raises(OSError, match=f"the key .*: .*{why}"):
            pem_files.content("key", tmp_path / name)
