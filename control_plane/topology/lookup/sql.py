"""The statements of look-ups, in the driver's own parameter style."""

from __future__ import annotations

from typing import LiteralString

FEED_POSITION_SQL: LiteralString = (
    "SELECT revision, edge_revision,"
    " (SELECT CAST(coalesce(sum(e.revision), 0) AS bigint) FROM epochs e) FROM revisions"
)


def owner_sql(parameter: LiteralString) -> LiteralString:
    """Return the statement that reads the owner of one key: its parameters are bucket and value.

    Args:
        parameter: How the driver writes a parameter: ``?`` or ``%s``.
    """
    return f"SELECT cell_id FROM claims WHERE bucket = {parameter} AND value = {parameter}"  # noqa: S608 - no text from outside


def _held_owner_sql(parameter: LiteralString) -> LiteralString:
    """Return the same, with minus the number of the move that holds the key, if one does."""
    return f"SELECT coalesce(hold, cell_id) FROM claims WHERE bucket = {parameter} AND value = {parameter}"  # noqa: S608, E501 - no text from outside


class OwnersSql(dict[int, LiteralString]):
    """The statements that read both revisions and the owners of keys, by the number of keys.

    Each is one row as of one moment: revision, edge revision, and an owner or NULL for each key.
    It is written when it is first needed, since many look-ups need few of them.
    """

    def __init__(self, parameter: LiteralString) -> None:
        super().__init__()
        self._owner = _held_owner_sql(parameter)

    def __missing__(self, keys: int) -> LiteralString:
        """Write the statement for this number of keys."""
        columns: list[LiteralString] = ["revision", "edge_revision", *[f"({self._owner})"] * keys]
        self[keys] = sql = f"SELECT {', '.join(columns)} FROM revisions"  # noqa: S608 - no text from outside
        return sql
