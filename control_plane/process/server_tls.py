"""The server's side of TLS from files, which are read again when they change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class ServerTls:
    """A TLS context that follows its files: new connections get the newest certificate."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            OSError: they can't be read or used; the text names them.
        """
        self._files = certificate, key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stamp()
        self._load(self.context)

    def reload(self) -> None:
        """Read the files again if they have changed; keep what was read if they can't be used."""
        try:
            seen = self._stamp()
            if seen == self._seen:
                return
            self._seen = seen
            # First elsewhere: a context keeps the half of a pair that it could read.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except OSError as error:
            log.error("the new certificate is not used: %s", error)  # noqa: TRY400 - no bug

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = (file.stat() for file in self._files)
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._files
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            text = f"{certificate} and {key} are no certificate and its key (PEM): {error}"
            raise OSError(text) from error


def _no_password() -> str:
    raise ValueError("the key needs a password; store it without one")
