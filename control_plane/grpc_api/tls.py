"""Mutual TLS whose files are read again when they change."""

from __future__ import annotations

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
            OSError: one can't be read; as ssl.SSLError, one is no PEM or the key does not fit.
        """
        # gRPC would find out only during a handshake, and then serve nobody.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.client_ca)
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], self.client_ca.read_bytes())


class ReloadingTls:
    """Server credentials that demand a client certificate, from files that may be replaced.

    Each handshake looks whether they were. Files that don't fit together are not taken: what
    worked before goes on working, and `failed` is called once per such state.
    """

    def __init__(self, files: TlsFiles, failed: Callable[[], None]) -> None:
        """Raises OSError (as which ssl.SSLError counts) when the files can't be used."""
        self._files = files
        self._failed = failed
        try:
            self._seen = files.signature()
            self._first = files.read()
        except OSError as error:
            raise OSError(error.errno, f"the TLS files can't be used: {error}") from error
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
                    log.error("TLS files can't be used, the old ones stay: %s", error)  # noqa: TRY400
                    self._failed()
                self._seen = signature
                return None
            self._seen = signature
            log.info("TLS files were read again")
            return fresh
