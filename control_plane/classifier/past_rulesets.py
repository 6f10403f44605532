"""Rulesets that an edge routes by while the classifier knows another to be the active one.

An edge gets a change of rules some time after the classifier has seen it, and much later if it has
lost its control plane. Until then its questions have the headers that its own rules look at, and
its route table has the refusals of those. So it names its ruleset, and is answered by that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from control_plane.routing.rules.digest import rules_digest
from control_plane.routing.rules.document import load
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology import Topology

MAX_KEPT = 8
MAX_ABSENT = 64
RETRY_S = 1.0
"""How long a ruleset that was not found is not looked for again."""


class UnknownRuleset(Exception):
    """An edge asks for a decision by a ruleset that the topology does not have."""


class PastRulesets:
    """Finds the rulesets of the topology by their digests, and keeps those that were asked for."""

    def __init__(self, topology: Topology, clock: Callable[[], float] = time.monotonic) -> None:
        self._topology = topology
        self._clock = clock
        self._kept: dict[str, Ruleset] = {}
        self._absent: dict[str, float] = {}
        """When each was looked for in vain."""
        self._digests: dict[tuple[str, int], str] = {}
        """Of versions, which never change."""

    def get(self, digest: str) -> Ruleset | None:
        """Return one that is kept."""
        return self._kept.get(digest)

    def keep(self, ruleset: Ruleset) -> None:
        """Keep one that was active, in place of the one that was kept first."""
        while len(self._kept) >= MAX_KEPT and ruleset.digest not in self._kept:
            del self._kept[next(iter(self._kept))]
        self._kept[ruleset.digest] = ruleset

    def is_absent(self, digest: str) -> bool:
        """Tell whether it was looked for in vain a moment ago."""
        since = self._absent.get(digest)
        return since is not None and self._clock() - since < RETRY_S

    def find(self, digest: str) -> Ruleset:
        """Read one from the topology, which blocks; raises `UnknownRuleset`."""
        if self.is_absent(digest):
            raise UnknownRuleset(digest)
        for version in reversed(self._topology.rulesets.versions()):
            key = version.name, version.version
            # What an older version of ours took may be refused by this one.
            with contextlib.suppress(RulesetError):
                if key not in self._digests:
                    self._digests[key] = rules_digest(load(version.document))
                if self._digests[key] == digest:
                    found = parse(version.document)
                    self.keep(found)
                    return found
        if len(self._absent) >= MAX_ABSENT:
            self._absent.clear()
        self._absent[digest] = self._clock()
        raise UnknownRuleset(digest)
