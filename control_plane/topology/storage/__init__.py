"""SQL and transactions. This room knows no cell and no claim, only tables and revisions.
`spellings` is an exception, because a migration uses it.

This file is the sub-room's face: one import statement brings what the rooms above it use.
"""

from control_plane.topology.storage.answers import Answers
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.driver_errors import translated_errors, trouble_of
from control_plane.topology.storage.engines import (
    dialect_for,
    migrate,
    newest_schema,
    pending_migrations,
)
from control_plane.topology.storage.file_lock import lock_exclusive
from control_plane.topology.storage.first_start import refuse_anew
from control_plane.topology.storage.group_commit import Job, Write
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.server_history import HISTORY_SQL
from control_plane.topology.storage.server_messages import CHANNEL, is_elsewhere
from control_plane.topology.storage.statements import (
    Result,
    Statement,
    chunked,
    clock,
    execute,
    for_rows,
    in_keys,
    insert_many,
    moment,
    stored,
)
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction, bounded
from control_plane.topology.storage.trouble_codes import kind_of_sqlite_code

__all__ = [
    "CHANNEL",
    "HISTORY_SQL",
    "Answers",
    "Job",
    "MarkFile",
    "Result",
    "Statement",
    "Store",
    "Transaction",
    "Write",
    "bounded",
    "chunked",
    "clock",
    "dialect_for",
    "dialect_of",
    "execute",
    "for_rows",
    "in_keys",
    "insert_many",
    "is_elsewhere",
    "kind_of_sqlite_code",
    "lock_exclusive",
    "migrate",
    "moment",
    "newest_schema",
    "pending_migrations",
    "refuse_anew",
    "stored",
    "translated_errors",
    "trouble_of",
]
