"""The variants of a saved snapshot, so that a restarted Envoy gets none that it can't run.

An agent records what its Envoy runs. That may be the variant for Envoys that have a module, and the
Envoy may come back without it. So the plain snapshot is worked out from the saved one, and the
agent serves both as a control plane does: by what the node says, and the plain one to a node that
refuses the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from control_plane.names import MODULE_VARIANT
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import ChooseVariant, always_plain


def _itself(snapshot: Snapshot) -> Snapshot:
    return snapshot


@dataclass(frozen=True, slots=True)
class SavedVariants:
    """How an agent finds out about variants, of which it knows nothing itself."""

    choose: ChooseVariant = always_plain
    """Returns which variant a node gets."""
    plain: Callable[[Snapshot], Snapshot] = _itself
    """Returns the plain snapshot of a variant; the same one if it is plain already."""

    def cache(self, saved: Snapshot) -> SnapshotCache:
        """Return a cache with all variants of a saved snapshot."""
        cache = SnapshotCache()
        plain = self.plain(saved)
        cache.set(plain, {} if plain is saved else {MODULE_VARIANT: saved})
        return cache
