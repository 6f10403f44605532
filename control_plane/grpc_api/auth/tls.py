"""Mutual TLS whose files are read again when they change.

The problem: certificates are replaced while the server runs, and three files (certificate, key,
client authorities) are not replaced at the same moment. gRPC does not check them: with a key that
does not fit, every handshake fails.

The idea: each handshake compares the files' modification times, sizes and inodes with those of the
last reading. If they differ, the files are read and checked as OpenSSL would use them. Only files
that fit together are handed to gRPC. Until then, it goes on with the old ones.

An example: a renewal writes ``tls.crt`` and, a second later, ``tls.key``. Handshakes in
between find a pair that doesn't fit, log that once, count one failure and use the old pair. The
first handshake after the second write uses the new one.
"""

from __future__ import annotations

import errno
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

log = logging.getLogger(__name__)
_Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's certificate (chain), its key, and the authorities of its clients."""

    certificate: Path
    key: Path
    client_ca: Path

    def signature(self) -> _Signature:
        """Return a value that changes when a file does; raise OSError if one is missing."""
        stats = [path.stat() for path in (self.certificate, self.key, self.client_ca)]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files, check that they fit together, and return them as gRPC takes them.

        Raises:
            OSError: One can't be read or is no PEM, or the key does not fit. The error says which.
        """
        certificate = _content("certificate", self.certificate)
        key = _content("key", self.key)
        client_ca = _content("client CA", self.client_ca)
        # gRPC would notice wrong files only during a handshake, and then serve nobody.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise _unusable("client CA", self.client_ca, "no certificates in PEM") from error
        self._check_pair(context)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    def _check_pair(self, context: ssl.SSLContext) -> None:
        def no_password() -> str:
            # OpenSSL would otherwise ask for a password on the terminal, and wait.
            raise _unusable("key", self.key, "it is encrypted: keep it in plain PEM")

        try:
            # Loading it as authorities shows whether the file holds any certificate.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self.certificate)
        except ssl.SSLError as error:
            raise _unusable("certificate", self.certificate, "no certificate in PEM") from error
        try:
            context.load_cert_chain(self.certificate, self.key, no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"it does not belong to the certificate {self.certificate}"
            else:
                why = f"no private key in PEM ({error.reason or error.strerror})"
            raise _unusable("key", self.key, why) from error


def _content(what: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unusable(what, path, error.strerror or str(error)) from error


def _unusable(what: str, path: Path, why: str) -> OSError:
    return OSError(errno.EINVAL, f"gRPC's TLS files can't be used: the {what} {path}: {why}")


class ReloadingTls:
    """Server credentials that demand a client certificate, from files that may be replaced.

    Each handshake looks whether they were replaced. Files that don't fit together are not used: the
    old ones stay, and ``failed`` is called once for each such state of the files.
    """

    def __init__(self, files: TlsFiles, failed: Callable[[], None]) -> None:
        """Read the files; raise OSError if they can't be used."""
        self._files = files
        self._failed = failed
        # This comes first since its error says best what is wrong.
        files.read()
        self._seen = files.signature()
        self._first = files.read()
        self._lock = threading.Lock()

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials to add a port with."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._replaced,  # type: ignore[arg-type]  # the stubs don't know that it may be None
            require_client_authentication=True,
        )

    def _replaced(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files if they were replaced by usable ones, otherwise None.

        gRPC calls this in each handshake, from a thread of its own.
        """
        with self._lock:
            signature: _Signature = ()
            try:
                signature = self._files.signature()
                if signature == self._seen:
                    return None
                fresh = self._files.read()
                if self._files.signature() != signature:
                    # They are being replaced right now. The next handshake reads them.
                    return None
            except OSError as error:
                if signature != self._seen:
                    log.error("the old TLS files stay: %s", error.strerror)  # noqa: TRY400
                    self._failed()
                self._seen = signature
                return None
            self._seen = signature
            log.info("TLS files were read again")
            return fresh
