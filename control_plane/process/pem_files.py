"""Certificates, keys and authorities in PEM files that are replaced while a program runs.

gRPC takes whatever bytes it is given, and finds out during a handshake that they can't be used.
So files are checked here first, as OpenSSL would use them, with errors that name the file. A
program notices a replaced file by its `signature`, which costs one ``stat`` a file.
"""

from __future__ import annotations

import errno
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path

MAX_PEM_BYTES = 1 << 22
"""The largest file that is read. A system's whole trust store has about a sixteenth of that."""
Signature = tuple[tuple[int, int, int], ...]


def signature(paths: Iterable[Path]) -> Signature:
    """Return a value that changes when one of the files does; raise OSError if one is missing."""
    stats = [path.stat() for path in paths]
    return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)


def content(what: str, path: Path) -> bytes:
    """Return the bytes of a file.

    Args:
        what: What the file holds, for the error.
        path: Where it is.

    Raises:
        OSError: It can't be read, is no regular file, or is too large.
    """
    try:
        status = path.stat()
        # Opening a FIFO would wait for its writer, in the thread that handles a handshake.
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise unusable(what, path, "it is no regular file")
        if status.st_size > MAX_PEM_BYTES:
            raise unusable(what, path, f"it has more than {MAX_PEM_BYTES} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EINVAL:
            raise
        raise unusable(what, path, getattr(error, "strerror", None) or str(error)) from error


def check_authorities(what: str, path: Path) -> None:
    """Check that a file holds certificates.

    Raises:
        OSError: It holds none.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise unusable(what, path, "no certificates in PEM") from error


def check_pair(certificate: Path, key: Path) -> None:
    """Check that a certificate and a key fit together.

    Raises:
        OSError: One is no PEM, the key is encrypted, or it belongs to another certificate.
    """

    def no_password() -> str:
        # OpenSSL would otherwise ask for a password on the terminal, and wait.
        raise unusable("key", key, "it is encrypted: keep it in plain PEM")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Loading it as authorities shows whether the file holds any certificate.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise unusable("certificate", certificate, "no certificate in PEM") from error
    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"it does not belong to the certificate {certificate}"
        else:
            why = f"no private key in PEM ({error.reason or error.strerror})"
        raise unusable("key", key, why) from error


def unusable(what: str, path: Path, why: str) -> OSError:
    """Return the error for a file that can't be used."""
    return OSError(errno.EINVAL, f"gRPC's TLS files can't be used: the {what} {path}: {why}")
