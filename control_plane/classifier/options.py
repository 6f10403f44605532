"""What can be set of the classifier's port, in a form that its processes get by the environment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

VARIABLE = "CELLWAY_CLASSIFIER_OPTIONS"
"""The environment variable with `PortOptions.as_text`."""


@dataclass(frozen=True, slots=True)
class PortOptions:
    """How the classifier's port treats those who connect; `Settings` has the same names."""

    max_connections: int = 4096
    max_peer_connections: int = 2048
    secret_demanded: bool = True
    tls_certificate: str | None = None
    """The file of the server's certificate; None for plaintext."""
    tls_key: str | None = None

    def as_text(self) -> str:
        """Return the options for the environment of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> PortOptions:
        """Return the options that `as_text` wrote."""
        return cls(**json.loads(text))
