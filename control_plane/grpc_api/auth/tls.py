"""Mutual TLS whose files are looked at in each handshake (see `process.pem_files`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from control_plane.grpc_api.auth.trust import ANY_NAME, Trust
from control_plane.process import pem_files


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

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of the files."""
        return self.certificate, self.key, *self.authorities.values()

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
        self._files = pem_files.Replaceable(files.paths, files.read, failed)
        self._trust = self._files.first.trust

    def trust(self) -> Trust:
        """Return the authorities by trust domain, as they were read last."""
        return self._trust

    def usable(self) -> bool:
        """Return whether the files can be used as they are now, or the old ones have to stay."""
        return self._files.usable()

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials to add a port with."""
        return grpc.dynamic_ssl_server_credentials(
            self._files.first.configuration,
            self._replaced,  # type: ignore[arg-type]  # the stubs don't know that it may be None
            require_client_authentication=True,
        )

    def _replaced(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files if they were replaced by usable ones, otherwise None.

        gRPC calls this in each handshake, from a thread of its own.
        """
        fresh = self._files.replaced()
        if fresh is None:
            return None
        self._trust = fresh.trust
        return fresh.configuration
