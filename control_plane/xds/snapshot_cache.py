"""The newest snapshot, which all nodes are served. A newer one is never replaced by an older."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.xds.shrink import GUARDED, counted, shrink_reason
from control_plane.xds.snapshot import EMPTY, Snapshot

MAX_RESPONSE_BYTES = 48 << 20
"""Less than gRPC sends (`transport.MAX_SENT_BYTES`), so that this cache refuses it and says why."""


class StaleRevision(Exception):
    """The snapshot is older than the current one, or has its revision and other content."""


class SuspiciousShrink(Exception):
    """The snapshot lacks too much of what Envoys serve by; see `shrink`."""


class OverSize(Exception):
    """One type of the snapshot does not fit into one response."""


class SnapshotCache:
    """Holds one snapshot and wakes its watchers whenever it is replaced."""

    def __init__(self, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._max_response_bytes = max_response_bytes
        self._newest: Snapshot | None = None
        self._watchers: set[Callable[[], None]] = set()

    @property
    def newest(self) -> Snapshot:
        """The newest snapshot; `EMPTY` until the first one is set."""
        return self._newest or EMPTY

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after each change. Return a function that ends this."""
        self._watchers.add(wake)
        return lambda: self._watchers.discard(wake)

    def set(self, snapshot: Snapshot, *, force: bool = False) -> bool:
        """Replace the current snapshot by one with a higher revision, and wake the watchers.

        Args:
            snapshot: The new snapshot.
            force: Whether to accept a snapshot that lacks most of the current one.

        Returns:
            False if the current snapshot has this revision and this content already.

        Raises:
            StaleRevision: A newer snapshot is there, or another one of the same revision.
            SuspiciousShrink: The snapshot lacks too much; ``force`` overrides this.
            OverSize: One type is too large for any node to be sent it.
        """
        current = self._newest
        if current is not None:
            if snapshot.revision < current.revision:
                raise StaleRevision(
                    f"revision {current.revision}, which is newer, is there already"
                )
            if snapshot.revision == current.revision:
                if snapshot.same_content(current):
                    return False
                raise StaleRevision(
                    f"revision {snapshot.revision} is there already, with other content"
                )
            if not force:
                _guard_shrink(current, snapshot)
        self._guard_size(snapshot)
        self._newest = snapshot
        for wake in tuple(self._watchers):
            wake()
        return True

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
