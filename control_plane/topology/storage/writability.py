"""Whether writes work: learned from the writes themselves, and tried only while they don't.

A database may answer every read and refuse every write: after a failover its old sessions are on a
standby, or its disk is full. So the outcome of each write is noted. While the last one failed for
such a reason, nobody may send another (a load balancer has taken the replica out), so `trial_write`
is made now and then. While writes work it isn't, and costs nothing::

    a write fails: full     trouble = "the database has no room left: …"
    trial_write fails       trouble stays
    trial_write works       trouble = None
"""

from __future__ import annotations

import logging
import os

from sqlalchemy import Connection

from control_plane.topology.storage.statements import Statement, execute
from control_plane.topology.values.errors import (
    DatabaseSlow,
    DatabaseTrouble,
    ReadOnly,
    TopologyError,
)

log = logging.getLogger(__name__)
_TRIAL_BYTES = 65_536
"""What the trial stores: more than is left between the rows of a full database."""
_TRIAL_REVISION = -1
"""No change has it. Only this transaction ever sees the row."""


class Writability:
    """What the writes of this process have shown. Thread-safe: it has one attribute."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """Why writes fail; None while they work, as far as is known."""

    def worked(self) -> None:
        """Record that a write was committed."""
        if self.trouble is not None:
            log.warning("writes to the database work again")
            self.trouble = None

    def failed(self, error: Exception) -> None:
        """Record that a write has failed, if that says anything about other writes.

        A database that is out of reach shows in the reads too. One slow write is no proof.
        """
        if isinstance(error, DatabaseTrouble | ReadOnly) and not isinstance(error, DatabaseSlow):
            self.trial_failed(error)

    def trial_failed(self, error: TopologyError) -> None:
        """Record that the trial has failed, whatever the reason."""
        if self.trouble is None:
            log.error("writes to the database fail: %s", error)
        self.trouble = str(error)


def trial_write(connection: Connection) -> None:
    """Do what a write needs, without a trace: store a row of the change feed, and delete it.

    The text can't be compressed.
    """
    insert = (
        "INSERT INTO changes (revision, ordinal, kind, action, key, before, actor, at)"
        " SELECT ?, 0, 'trial', 'create', '', ?, '', at FROM revisions"
    )
    text = os.urandom(_TRIAL_BYTES // 2).hex()
    delete = "DELETE FROM changes WHERE revision = ?"
    execute(
        connection,
        [Statement(insert, (_TRIAL_REVISION, text)), Statement(delete, (_TRIAL_REVISION,))],
    )
