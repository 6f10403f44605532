"""The newest snapshot of each group of nodes; newer never loses to older."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.xds.shrink import GUARDED, counted, refusal
from control_plane.xds.snapshot import EMPTY, Snapshot

MAX_RESPONSE_BYTES = 48 << 20
"""Below what gRPC sends (`transport.MAX_SENT_BYTES`), so that it is refused here, with a reason."""


class StaleRevision(Exception):
    """A snapshot that is older than the current one, or as old with other content."""


class SuspiciousShrink(Exception):
    """A snapshot that has lost what an Envoy serves by, without force; see `shrink`."""


class OverSize(Exception):
    """A snapshot of which one type does not fit into one response."""


class SnapshotCache:
    """Snapshots by group; nodes of a group without one of its own get the default (None)."""

    def __init__(self, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._max_response_bytes = max_response_bytes
        self._snapshots: dict[str | None, Snapshot] = {}
        self._watchers: set[Callable[[], None]] = set()

    def get(self, group: str) -> Snapshot:
        """The newest snapshot for a group."""
        return self._snapshots.get(group) or self._snapshots.get(None, EMPTY)

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after each change; returns how to stop."""
        self._watchers.add(wake)
        return lambda: self._watchers.discard(wake)

    def set(self, snapshot: Snapshot, *, group: str | None = None, force: bool = False) -> bool:
        """Compare-and-swap by revision; False if that very snapshot was there already.

        Raises:
            StaleRevision: a newer one is there, or another of the same revision.
            SuspiciousShrink: see there; ``force`` overrides.
            OverSize: see there; nothing overrides it, no node could be told.
        """
        current = self._snapshots.get(group)
        if current is not None:
            if snapshot.revision < current.revision:
                raise StaleRevision(f"{snapshot.revision} is older than {current.revision}")
            same = snapshot.same_content(current)
            if snapshot.revision == current.revision:
                if same:
                    return False
                raise StaleRevision(f"revision {snapshot.revision} is there with other content")
            if not force:
                _guard_shrink(current, snapshot)
        self._guard_size(snapshot)
        self._snapshots[group] = snapshot
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
        if current.whole(type_url) is not snapshot.whole(type_url)
    }
    if refused := refusal(counts):
        raise SuspiciousShrink(refused)
