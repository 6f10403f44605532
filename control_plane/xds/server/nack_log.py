"""Logs what one client refuses: each text once, and not each time that it is sent again."""

from __future__ import annotations

import logging

MAX_LOGGED = 100
"""Texts of one client that are logged until it is up to date again."""
log = logging.getLogger(__name__)


class NackLog:
    """The NACKs of one client since it was up to date."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()
        """Types and error texts."""
        self._acked_revision = 0

    def record(self, node_id: str, nacks: list[tuple[str, str]], acked_revision: int) -> None:
        """Log the NACKs that are new.

        Args:
            node_id: The client's node id.
            nacks: Type and error text of each.
            acked_revision: The newest revision of which the client runs everything.
        """
        for type_url, error in nacks:
            if acked_revision != self._acked_revision:
                self._acked_revision = acked_revision
                self._logged.clear()
            if (type_url, error) not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add((type_url, error))
                log.error("%s NACKed %s: %s", node_id, type_url, error)
