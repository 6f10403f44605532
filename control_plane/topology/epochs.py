"""Epochs: for each shard of the claims' keyspace, when an owner last changed in it.

What a cache keeps of a shard is void once the shard's epoch is newer than what is kept.
"""

from __future__ import annotations

import zlib

SHARDS = 256


def shard(bucket: str, value: str) -> int:
    """The shard of a claim, 0 to 255; ``value`` is normalised."""
    return zlib.crc32(f"{bucket}:{value}".encode()) % SHARDS
