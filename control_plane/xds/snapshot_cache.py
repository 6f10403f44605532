"""The newest snapshot, in all its variants. A newer one is never replaced by an older."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from control_plane.xds.shrink import GUARDED, counted, shrink_reason
from control_plane.xds.snapshot import EMPTY, Snapshot
from control_plane.xds.variants import PLAIN

MAX_RESPONSE_BYTES = 48 << 20
"""Less than gRPC sends (`transport.MAX_SENT_BYTES`), so that this cache refuses it and says why."""
NO_VARIANTS: Mapping[str, Snapshot] = MappingProxyType({})


class StaleRevision(Exception):
    """The snapshot is older than the current one, or has its revision and other content."""


class SuspiciousShrink(Exception):
    """The snapshot lacks too much of what Envoys serve by; see `shrink`."""


class OverSize(Exception):
    """One type of the snapshot does not fit into one response."""


class SnapshotCache:
    """Holds one snapshot with its variants, and wakes its watchers whenever they are replaced."""

    def __init__(self, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._max_response_bytes = max_response_bytes
        self._newest: Snapshot | None = None
        self._variants: Mapping[str, Snapshot] = NO_VARIANTS
        """The other variants of the newest snapshot, which all have its revision."""
        self._missing: AbstractSet[str] = frozenset()
        """The wanted variants that could not be made of the newest snapshot."""
        self._wanted: set[str] = set()
        self._make: Callable[[], None] | None = None
        self._watchers: set[Callable[[], None]] = set()

    @property
    def newest(self) -> Snapshot:
        """The newest plain snapshot; `EMPTY` until the first one is set."""
        return self._newest or EMPTY

    def newest_of(self, variant: str) -> Snapshot:
        """Return the newest snapshot of a variant; the plain one if there is none of it."""
        return self._variants.get(variant) or self.newest

    def is_coming(self, variant: str) -> bool:
        """Return whether a variant that is wanted is not there yet, and will be."""
        if variant == PLAIN or self._make is None:
            return False
        return variant not in self._variants and variant not in self._missing

    @property
    def wanted(self) -> frozenset[str]:
        """The variants beside the plain one that some node has asked for since the start."""
        return frozenset(self._wanted)

    def want(self, variant: str) -> None:
        """Have a variant made, now and of all snapshots from now on."""
        if variant == PLAIN or variant in self._wanted:
            return
        self._wanted.add(variant)
        if self._make is not None:
            self._make()

    def make_with(self, make: Callable[[], None]) -> None:
        """Call a function when a variant is wanted that was not before.

        Without such a function, no variant is waited for.
        """
        self._make = make

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after each change. Return a function that ends this."""
        self._watchers.add(wake)
        return lambda: self._watchers.discard(wake)

    def set(
        self,
        snapshot: Snapshot,
        variants: Mapping[str, Snapshot] = NO_VARIANTS,
        *,
        missing: AbstractSet[str] = frozenset(),
        force: bool = False,
    ) -> bool:
        """Replace the current snapshot by one with a higher revision, and wake the watchers.

        A snapshot of the same revision and content is taken if it brings other variants.

        Args:
            snapshot: The new snapshot, in the plain variant.
            variants: Its other variants by name, of the same revision.
            missing: The names of variants that could not be made of it.
            force: Whether to accept a snapshot that lacks most of the current one.

        Returns:
            False if all of that is the current state already.

        Raises:
            StaleRevision: A newer snapshot is there, or another one of the same revision.
            SuspiciousShrink: The snapshot lacks too much; ``force`` overrides this.
            OverSize: One type is too large for any node to be sent it.
        """
        current = self._newest
        if current is not None and not self._check_revision(current, snapshot):
            if self._variants.keys() == variants.keys() and self._missing == missing:
                return False
            # The streams of plain nodes keep the very object that they have.
            snapshot = current
        for name, one in {PLAIN: snapshot, **variants}.items():
            before = current if name == PLAIN else self._variants.get(name)
            if before is not None and before.revision < one.revision and not force:
                _guard_shrink(before, one)
            self._guard_size(one)
        self._newest, self._variants, self._missing = snapshot, dict(variants), missing
        for wake in tuple(self._watchers):
            wake()
        return True

    def _check_revision(self, current: Snapshot, snapshot: Snapshot) -> bool:
        """Return whether a snapshot is newer than the current one; False if it is the same."""
        if snapshot.revision < current.revision:
            raise StaleRevision(f"revision {current.revision}, which is newer, is there already")
        if snapshot.revision > current.revision:
            return True
        if not snapshot.same_content(current):
            raise StaleRevision(
                f"revision {snapshot.revision} is there already, with other content"
            )
        return False

    def _guard_size(self, snapshot: Snapshot) -> None:
        for type_url, size in snapshot.bytes_by_type.items():
            if size > self._max_response_bytes:
                raise OverSize(
                    f"{len(snapshot.of_type(type_url))} resources of {type_url.rpartition('.')[2]} "
                    f"are {size} bytes; a response holds {self._max_response_bytes}"
                )


def _guard_shrink(current: Snapshot, snapshot: Snapshot) -> None:
    counts = {
        type_url: (
            counted(type_url, current.of_type(type_url)),
            counted(type_url, snapshot.of_type(type_url)),
        )
        for type_url in GUARDED
        if current.resources(type_url) is not snapshot.resources(type_url)
    }
    if reason := shrink_reason(counts):
        raise SuspiciousShrink(reason)
