"""A resource as xDS sees it: a type, a name, a version (content hash) and bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS

PHASES = ((SDS,), (CDS, EDS), (LDS, RDS), (ECDS, RTDS))
"""Make before break: what is referred to goes out, and is acknowledged, before what refers to it.

Within a phase nothing waits: Envoy holds back its ACK of clusters until their endpoints are there,
and a new listener warms until its routes are.
"""
PUSH_ORDER = tuple(type_url for phase in PHASES for type_url in phase)
SHRINK_GUARD_FROM = 4
"""With fewer clusters of cells than this, any number of them but all may go at once."""
FULL_STATE_TYPES = frozenset({CDS, LDS})
"""Types with a wildcard, whose state-of-the-world responses are the whole truth."""
REFUSED_STAYS_REFUSED = frozenset({ECDS, SDS})
"""Types of which Envoy acknowledges what it has refused when it comes again, and does not apply it.

Envoy compares with the hash of what came last, good or not (seen in 1.40).
"""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def length_delimited(field: int, payload: bytes) -> bytes:
    """Protobuf wire format of a bytes, string or message field (wire type 2)."""
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


@dataclass(frozen=True)
class Resource:
    """One resource; ``body`` is its serialised message, made once and shared by all streams."""

    type_url: str
    name: str
    version: str
    body: bytes

    @classmethod
    def of(cls, type_url: str, name: str, body: bytes) -> Resource:
        """A resource whose version is the hash of its bytes: the same on every replica."""
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
        """About the length of `delta_field`, which is made when some client needs it."""
        return len(self.body) + len(self.type_url) + len(self.version) + len(self.name) + 24

    @cached_property
    def sotw_field(self) -> bytes:
        """Field 2 of a DiscoveryResponse: an Any."""
        return length_delimited(2, self.any_bytes)
