"""Claims, as `Topology.claims` offers them: each method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, or_, select

from control_plane.names import MAX_PAGE
from control_plane.topology.cells import get_cell
from control_plane.topology.changes import of_keys, revision
from control_plane.topology.claims import plain
from control_plane.topology.lookup import open_lookup
from control_plane.topology.storage import Store, schema
from control_plane.topology.values import (
    Change,
    Claim,
    ClaimKey,
    ClaimSpec,
    KeyPair,
    NotFound,
    Written,
    normalise,
    normalised_or_none,
)

_T = schema.claims


class Claims:
    """Reads and writes claims; a write is one transaction, all or nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(
        self, specs: Sequence[ClaimSpec], *, actor: str, dry_run: bool = False
    ) -> Written[tuple[Claim, ...]]:
        """Claim all of the values (1 to 1,000) for their cells, or none.

        Raises:
            Invalid: a value or the number of claims is malformed, or a value comes twice.
            NotFound: there is no such cell.
            AlreadyExists: lists every value that is taken, and its owner.
            Refused: the cell is retired.
        """
        return self._store.written(actor, lambda tx: plain.claim(tx, specs), dry_run=dry_run)

    def release(
        self,
        keys: Sequence[KeyPair],
        *,
        actor: str,
        cell: str | None = None,
        dry_run: bool = False,
    ) -> Written[tuple[Claim, ...]]:
        """Release all of the claims (1 to 1,000), or none; with ``cell``, only that cell's.

        Raises:
            NotFound: names the first value that is not claimed.
            Refused: another cell owns one.
            Locked: a lease holds some of them.
        """
        return self._store.written(actor, lambda tx: plain.release(tx, keys, cell), dry_run=dry_run)

    def get(self, bucket: str, value: str) -> Claim:
        """Return one claim; raise `NotFound`, or `Invalid` for a malformed key."""
        key = ClaimKey(bucket, normalise(bucket, value))
        with self._store.read() as connection:
            claims = plain.existing(connection, [key])
        if key not in claims:
            raise NotFound("claim", str(key))
        return claims[key]

    def page(
        self,
        *,
        bucket: str | None = None,
        cell: str | None = None,
        prefix: str | None = None,
        after: KeyPair | None = None,
        limit: int = 100,
    ) -> list[Claim]:
        """Return claims in the order of their keys.

        Args:
            bucket: only claims in this bucket.
            cell: only claims of this cell.
            prefix: only values that begin with this (normalised).
            after: only keys after this one: the last of the page before.
            limit: 1 to 1,000.
        """
        query = plain.query()
        if bucket is not None:
            query = query.where(_T.c.bucket == bucket)
        if cell is not None:
            query = query.where(schema.cells.c.name == cell)
        if prefix:
            query = query.where(_T.c.value >= prefix, _T.c.value < prefix + "\U0010ffff")
        if after is not None:
            later = and_(_T.c.bucket == after[0], _T.c.value > after[1])
            query = query.where(or_(_T.c.bucket > after[0], later))
        query = query.order_by(_T.c.bucket, _T.c.value).limit(min(max(limit, 1), MAX_PAGE))
        with self._store.read() as connection:
            return [plain.from_row(row) for row in connection.execute(query)]

    def count(self) -> dict[str, int]:
        """Return the number of claims in each bucket."""
        query = select(_T.c.bucket, func.count()).group_by(_T.c.bucket)
        with self._store.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def count_of(self, cell: str) -> int:
        """Return the number of a cell's claims; raise `NotFound` if there is no such cell."""
        query = select(func.count()).select_from(_T)
        with self._store.read() as connection:
            query = query.where(_T.c.cell_id == get_cell(connection, cell).id)
            return int(connection.execute(query).scalar_one())

    def owners_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the id of the cell that owns each key, in order; None if none does."""
        lookup = open_lookup(self._store.engine)
        try:
            return lookup.owner_ids_of(keys)
        finally:
            lookup.close()

    def owners_as_of(self, keys: Sequence[KeyPair]) -> tuple[int, list[int | None]]:
        """Return the newest revision, and who owns each of many keys then, as `owners_of` does."""
        normal = [normalised_or_none(bucket, value) for bucket, value in keys]
        pairs = zip(keys, normal, strict=True)
        wanted = [ClaimKey(key[0], value) for key, value in pairs if value is not None]
        with self._store.read() as connection:
            at = revision(connection)
            owners = plain.owner_ids(connection, list(dict.fromkeys(wanted)))
        pairs = zip(keys, normal, strict=True)
        return at, [owners.get(ClaimKey(key[0], value or "")) for key, value in pairs]

    def audit(
        self, bucket: str, value: str, *, before: int | None = None, limit: int = 100
    ) -> list[Change]:
        """Return the newest changes of a claim and of the leases that touched it, oldest first.

        They reach back as far as the change feed does; the claim need not exist any more.

        Args:
            bucket: the claim's bucket.
            value: the claim's value, in any spelling.
            before: only changes before this revision.
            limit: how many changes of the claim, 1 to 1,000.
        """
        limit = min(max(limit, 1), MAX_PAGE)
        with self._store.read() as connection:
            key = ClaimKey(bucket, normalise(bucket, value))
            changes = of_keys(connection, [str(key)], limit, before)
            sides = [side for change in changes for side in (change.before, change.after) if side]
            leases = {side["lease"] for side in sides if "lease" in side}
            changes += of_keys(connection, sorted(leases), 2 * limit)
        # A lease's entry stands first in its revision.
        return sorted(changes, key=lambda change: (change.revision, change.kind != "lease"))
