"""Names the history of a PostgreSQL server's revisions, so that two histories are told apart."""

from __future__ import annotations

from typing import LiteralString

HISTORY_SQL: LiteralString = """
SELECT s.system_identifier, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), d.oid,
    CAST(CAST('revisions' AS regclass) AS oid)
FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()"""
"""The cluster, its timeline (another one after each promotion or recovery to a point in time), the
database, and the table (another one after a restore). A standby can't tell them."""
