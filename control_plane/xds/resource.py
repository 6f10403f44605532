"""A resource as xDS sees it: a type, a name, a version (content hash) and bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from control_plane.xds.protobuf_wire import length_delimited


@dataclass(frozen=True)
class Resource:
    """One resource. Its serialised message, ``body``, is made once and shared by all streams."""

    type_url: str
    name: str
    version: str
    body: bytes

    @classmethod
    def of(cls, type_url: str, name: str, body: bytes) -> Resource:
        """Return a resource whose version is the hash of its body: the same on every replica."""
        return cls(type_url, name, hashlib.blake2b(body, digest_size=8).hexdigest(), body)

    @cached_property
    def any_bytes(self) -> bytes:
        """The resource as a serialised ``google.protobuf.Any``."""
        return length_delimited(1, self.type_url.encode()) + length_delimited(2, self.body)

    @cached_property
    def delta_field(self) -> bytes:
        """Field 2 of a DeltaDiscoveryResponse: a ``Resource`` {version 1, resource 2, name 3}."""
        return length_delimited(
            2,
            length_delimited(1, self.version.encode())
            + length_delimited(2, self.any_bytes)
            + length_delimited(3, self.name.encode()),
        )

    @property
    def delta_size(self) -> int:
        """The approximate length of `delta_field`, which this does not make."""
        return len(self.body) + len(self.type_url) + len(self.version) + len(self.name) + 24

    @cached_property
    def sotw_field(self) -> bytes:
        """Field 2 of a DiscoveryResponse: an ``Any``."""
        return length_delimited(2, self.any_bytes)
