"""Mutual TLS whose files are read again when they change."""

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
    """PEM files: our certificate (chain), its key, and the authorities of our clients."""

    certificate: Path
    key: Path
    client_ca: Path

    def signature(self) -> _Signature:
        """Changes when a file does; raises OSError where one is missing."""
        stats = [path.stat() for path in (self.certificate, self.key, self.client_ca)]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """The files as gRPC takes them.

        Raises:
            OSError: one can't be read or is no PEM, or the key does not fit; says which.
        """
        certificate = _content("certificate", self.certificate)
        key = _content("key", self.key)
        client_ca = _content("client CA", self.client_ca)
        # gRPC would find out only during a handshake, and then serve nobody.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise _unusable("client CA", self.client_ca, "no certificates in PEM") from error
        self._check_pair(context)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    def _check_pair(self, context: ssl.SSLContext) -> None:
        def no_password() -> str:
            # OpenSSL would ask on the terminal, and wait.
            raise _unusable("key", self.key, "it is encrypted: keep it in plain PEM")

        try:
            # As authorities: this says whether the file has certificates at all.
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

    Each handshake looks whether they were. Files that don't fit together are not taken: what
    worked before goes on working, and `failed` is called once per such state.
    """

    def __init__(self, files: TlsFiles, failed: Callable[[], None]) -> None:
        """Raises OSError when the files can't be used."""
        self._files = files
        self._failed = failed
        # It says best what is wrong.
        files.read()
        self._seen = files.signature()
        self._first = files.read()
        self._lock = threading.Lock()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is added with."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._changed,  # type: ignore[arg-type]  # None means: unchanged
            require_client_authentication=True,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC in each handshake, from a thread of its own."""
        with self._lock:
            signature: _Signature = ()
            try:
                signature = self._files.signature()
                if signature == self._seen:
                    return None
                fresh = self._files.read()
                if self._files.signature() != signature:
                    # Being replaced right now: the next handshake reads them.
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
