"""TLS of an HTTP listener, whose files are read again when they change.

A renewal replaces the certificate and its key one after the other. So each handshake looks whether
the files were replaced, and uses them once they fit together; until then the old ones stay. A
handshake that has begun, and a connection, keep what they began with.
"""

from __future__ import annotations

import errno
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from control_plane.process.pem_files import Replaceable

log = logging.getLogger(__name__)
_Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files: the certificate with its chain, its key, and who signs clients' certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """None: clients need no certificate."""

    def context(self) -> ssl.SSLContext:
        """Return a context for a listener, which follows the files.

        Raises:
            OSError: The files can't be used; the error says which, and why.
        """
        return _Followed(self).first

    def read(self) -> ssl.SSLContext:
        """Return a context of the files as they are now; raise OSError as `context` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key, _no_password)
        except OSError as error:
            what = f"certificate {self.certificate} with the key {self.key}"
            raise _unusable(what, error) from error
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                raise _unusable(f"client CA {self.client_ca}", error) from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def watched(self) -> Replaceable[ssl.SSLContext]:
        """Return the files as those look at them who only want to know whether they are usable.

        Raises:
            OSError: They can't be used now.
        """
        paths = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        return Replaceable(paths, self.read, lambda: None)

    def signature(self) -> _Signature:
        """Return a value that changes when a file does; raise OSError if one is missing."""
        files = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        stats = [path.stat() for path in files]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


class _Followed:
    """The newest usable context of some files."""

    def __init__(self, files: ServerTls) -> None:
        self._files = files
        self.first = self._newest = files.read()
        self._seen = files.signature()
        self.first.sni_callback = self._on_hello

    def _on_hello(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        """Give a connection that begins the newest context."""
        self._look()
        if self._newest is not self.first:
            connection.context = self._newest

    def _look(self) -> None:
        """Read the files if they were replaced; log once for each state that can't be used."""
        signature: _Signature = ()
        try:
            signature = self._files.signature()
            if signature == self._seen:
                return
            self._newest = self._files.read()
            log.info("the API's TLS files were read again")
        except OSError as error:
            if signature != self._seen:
                log.error("the API's old TLS files stay: %s", error.strerror)  # noqa: TRY400
        self._seen = signature


def _no_password() -> str:
    # OpenSSL would otherwise ask for a password on the terminal, and wait.
    raise OSError(errno.EINVAL, "the key is encrypted: keep it in plain PEM")


def _unusable(what: str, error: OSError) -> OSError:
    why = (error.reason if isinstance(error, ssl.SSLError) else None) or error.strerror or error
    return OSError(errno.EINVAL, f"the API's TLS files can't be used: the {what}: {why}")
