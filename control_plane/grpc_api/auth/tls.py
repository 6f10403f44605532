"""Mutual TLS whose files are read again when they change.

The problem: certificates are replaced while the server runs, and the files (certificate, key,
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

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from control_plane.grpc_api.auth.trust import ANY_NAME, Trust
from control_plane.process import pem_files

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The files as gRPC takes them, and the authorities by trust domain."""

    configuration: grpc.ServerCertificateConfiguration
    trust: Trust


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's certificate (chain), its key, and the authorities of its clients."""

    certificate: Path
    key: Path
    authorities: Mapping[str, Path]
    """By the trust domain whose names they may sign; `trust.ANY_NAME` for all names."""

    def signature(self) -> pem_files.Signature:
        """Return a value that changes when a file does; raise OSError if one is missing."""
        return pem_files.signature((self.certificate, self.key, *self.authorities.values()))

    def read(self) -> Loaded:
        """Read the files, check that they fit together, and return them.

        Raises:
            OSError: One can't be read or is no PEM, or the key does not fit. The error says which.
        """
        certificate = pem_files.content("certificate", self.certificate)
        key = pem_files.content("key", self.key)
        bundles = {domain: self._bundle(domain) for domain in self.authorities}
        pem_files.check_pair(self.certificate, self.key)
        trust = Trust({domain: self._parsed(domain, pem) for domain, pem in bundles.items()})
        # gRPC verifies handshakes with the authorities of all domains.
        every = b"\n".join(bundles.values())
        pair = grpc.ssl_server_certificate_configuration([(key, certificate)], every)
        return Loaded(pair, trust)

    def _bundle(self, domain: str) -> bytes:
        what, path = _authorities_of(domain), self.authorities[domain]
        bundle = pem_files.content(what, path)
        # gRPC would notice wrong files only during a handshake, and then serve nobody.
        pem_files.check_authorities(what, path)
        return bundle

    def _parsed(self, domain: str, bundle: bytes) -> list[x509.Certificate]:
        if domain == ANY_NAME:
            return []
        try:
            return x509.load_pem_x509_certificates(bundle)
        except ValueError as error:
            path, why = self.authorities[domain], f"a broken certificate ({error})"
            raise pem_files.unusable(_authorities_of(domain), path, why) from error


def _authorities_of(domain: str) -> str:
    return f"client CA of {domain}" if domain else "client CA"


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
        self._trust = self._first.trust
        self._lock = threading.Lock()

    def trust(self) -> Trust:
        """Return the authorities by trust domain, as they were read last."""
        return self._trust

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials to add a port with."""
        return grpc.dynamic_ssl_server_credentials(
            self._first.configuration,
            self._replaced,  # type: ignore[arg-type]  # the stubs don't know that it may be None
            require_client_authentication=True,
        )

    def _replaced(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files if they were replaced by usable ones, otherwise None.

        gRPC calls this in each handshake, from a thread of its own.
        """
        with self._lock:
            signature: pem_files.Signature = ()
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
                    log.error("the old TLS files stay: %s", error.strerror or error)  # noqa: TRY400
                    self._failed()
                self._seen = signature
                return None
            self._seen = signature
            self._trust = fresh.trust
            log.info("TLS files were read again")
            return fresh.configuration
