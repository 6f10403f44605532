"""Claims in and out in bulk; the class is mixed into `Topology`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from control_plane.topology.claims import bulk
from control_plane.topology.claims.bulk import Imported, Reject
from control_plane.topology.storage.store import Store


class TransferCalls:
    """An import is a row of bounded transactions; an export is one consistent read."""

    _store: Store

    def import_claims(
        self,
        lines: Iterable[str],
        *,
        actor: str,
        skip: int = 0,
        reject: Callable[[Reject], None],
        progress: Callable[[Imported], None],
        dry_run: bool = False,
    ) -> Imported:
        """Claim what the lines of NDJSON say; see `transfer.import_claims`."""
        return bulk.import_claims(
            self._store,
            lines,
            actor=actor,
            skip=skip,
            reject=reject,
            progress=progress,
            dry_run=dry_run,
        )

    def export_claims(
        self, after: tuple[str, str] | None = None, limit: int | None = None
    ) -> Generator[str]:
        """Claims as lines of NDJSON, as of one moment; see `transfer.export_claims`."""
        with self._store.read() as connection:
            yield from bulk.export_claims(connection, after, limit)
