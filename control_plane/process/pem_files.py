"""Certificates, keys and authorities in PEM files that are replaced while a program runs.

The problem: certificate, key and authorities are not replaced at the same moment, and gRPC takes
whatever bytes it is given. With a key that does not fit, every handshake fails.

The idea: before each use, the files' modification times, sizes and inodes are compared with those
of the last reading. If they differ, the files are read and checked as OpenSSL would use them. Only
files that fit together are used. Until then the program goes on with the old ones.

An example: a renewal writes ``tls.crt`` and, a second later, ``tls.key``. Whoever looks in between
finds a pair that doesn't fit; that is logged once, and the old pair stays in use. The first look
after the second write has the new one.
"""

from __future__ import annotations

import errno
import logging
import ssl
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger(__name__)
MAX_PEM_BYTES = 1 << 22
"""The largest file that is read. A system's whole trust store has about a sixteenth of that."""
Signature = tuple[tuple[int, int, int], ...]


class Replaceable[Content]:
    """The content of some files, which may be replaced at any time. Threads may share it."""

    def __init__(
        self, paths: Iterable[Path], read: Callable[[], Content], failed: Callable[[], None]
    ) -> None:
        """Read the files for the first time.

        Args:
            paths: The files.
            read: Reads and checks them; raises OSError if they can't be used.
            failed: Is called once for each state of the files that can't be used.

        Raises:
            OSError: They can't be used now.
        """
        self._paths = tuple(paths)
        self._read = read
        self._failed = failed
        self._lock = threading.Lock()
        self._fresh: Content | None = None
        """What was read again, until `replaced` returns it."""
        self._usable = True
        # This comes first since its error says best what is wrong.
        read()
        self._seen = signature(self._paths)
        self.first = read()

    def replaced(self) -> Content | None:
        """Return what usable files hold that have replaced those read last; None if none have."""
        with self._lock:
            self._look()
            fresh, self._fresh = self._fresh, None
            return fresh

    def usable(self) -> bool:
        """Return whether the files can be used as they are now. `replaced` still returns them."""
        with self._lock:
            self._look()
            return self._usable

    def _look(self) -> None:
        """Read the files if they have changed since the last look."""
        found: Signature = ()
        try:
            found = signature(self._paths)
            if found == self._seen:
                return
            fresh = self._read()
            if signature(self._paths) != found:
                # They are being replaced right now. The next look reads them.
                return
        except OSError as error:
            if found != self._seen:
                log.error("the old TLS files stay: %s", error.strerror or error)  # noqa: TRY400
                self._failed()
            self._seen = found
            self._usable = False
            return
        self._seen = found
        self._fresh = fresh
        self._usable = True
        log.info("TLS files were read again")


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
