"""The variant of the configuration that one stream serves; see `xds.variants`."""

from __future__ import annotations

import logging
from typing import Any

from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.fleet.served_variant import ServedVariant
from control_plane.xds.server.request_check import envoy_version
from control_plane.xds.session.session import Session
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import PLAIN, ChooseVariant, NodeFacts

log = logging.getLogger(__name__)


class StreamVariant:
    """What a stream's node is served of the snapshots in a cache."""

    def __init__(self, cache: SnapshotCache, node_id: str, served: ServedVariant) -> None:
        self._cache = cache
        self._node_id = node_id
        self.served = served
        """Shared with the other streams of the node."""
        self._plain = cache.newest

    @classmethod
    def of(
        cls, request: Any, cache: SnapshotCache, fleet: Fleet, choose: ChooseVariant
    ) -> StreamVariant:
        """Return the variant for the node that a stream's first request names, and want it."""
        node = request.node
        chosen = choose(NodeFacts(node.id, node.cluster, envoy_version(node), node.metadata))
        served = fleet.variant(node.id)
        served.came(chosen, booting=not fleet.streams_of(node.id) and _is_booting(request))
        cache.want(served.name)
        return cls(cache, node.id, served)

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot for the node."""
        self._plain = self._cache.newest
        return self._cache.newest_of(self.served.name)

    @property
    def is_coming(self) -> bool:
        """Whether the node's variant is being made."""
        return self._cache.is_coming(self.served.name)

    def falls_back(self, session: Session) -> bool:
        """Return whether the client has just refused what only its variant has.

        It then gets the plain one.
        """
        if self.served.name == PLAIN:
            return False
        words = session.refused_beyond(self._plain)
        if words:
            self._fall_back(words)
        return bool(words)

    def heard(self, session: Session) -> None:
        """Record what the client has answered."""
        if self.served.unanswered and session.acked_revision:
            self.served.answered()

    def client_left(self, session: Session) -> None:
        """Record that the client has ended the stream."""
        if self.served.name != PLAIN and session.owes_beyond(self._plain):
            name = self.served.name
            if self.served.left_unanswered():
                self._log(name)

    def _fall_back(self, words: str) -> None:
        name = self.served.name
        self.served.fall_back(words)
        self._log(name)

    def _log(self, name: str) -> None:
        text = "%s gets the plain configuration instead of the variant %s: %s"
        log.error(text, self._node_id, name, self.served.refused)


def _is_booting(request: Any) -> bool:
    """Return whether a stream's first request, of either protocol, names nothing that runs."""
    has_some = getattr(request, "initial_resource_versions", "") or getattr(
        request, "version_info", ""
    )
    return not has_some
