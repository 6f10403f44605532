"""The edges' secret, as the API shows it: everything but the secret."""

from __future__ import annotations

from control_plane.api.schemas.answers import Document, Written


class EdgeSecretDocument(Document):
    """Which generation of the secret edges are sent."""

    generation: int
    rotated_at: str
    grace_s: float
    """How long classifiers still answer without it, after an upgrade."""


class EdgeSecretRead(Document):
    """The present generation."""

    edge_secret: EdgeSecretDocument


class EdgeSecretWritten(Written):
    """The generation after a rotation."""

    edge_secret: EdgeSecretDocument
