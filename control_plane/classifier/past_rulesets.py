"""The rulesets that edges route by while another one is active already.

An edge gets a change of rules some time after the classifier has seen it, and much later if it has
lost its control plane. Until then its questions carry the headers that its own rules look at, and
its route table has the refusals of those rules. So an edge names its ruleset by the digest, and the
classifier decides by that ruleset.
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

MAX_RULESETS = 8
"""How many rulesets are held in memory."""
MAX_ABSENT = 64
"""How many digests are remembered that no ruleset has. Edges can send any."""
SEARCH_AGAIN_S = 1.0
"""How long the topology is not searched again for a ruleset that it did not have."""


class UnknownRuleset(Exception):
    """An edge asks for a decision by a ruleset that the topology does not have."""


class PastRulesets:
    """Finds rulesets of the topology by their digests, and holds those that were asked for."""

    def __init__(self, topology: Topology, clock: Callable[[], float] = time.monotonic) -> None:
        self._topology = topology
        self._clock = clock
        self._rulesets: dict[str, Ruleset] = {}
        """The rulesets in memory by digest, the one that was added first in front."""
        self._absent: dict[str, float] = {}
        """When the topology was last searched in vain, by digest."""
        self._digests: dict[tuple[str, int], str] = {}
        """The digest of each version (name and number). Versions never change."""

    def get(self, digest: str) -> Ruleset | None:
        """Return a ruleset that is in memory."""
        return self._rulesets.get(digest)

    def add(self, ruleset: Ruleset) -> None:
        """Hold a ruleset in memory; the one that was added first makes room."""
        while len(self._rulesets) >= MAX_RULESETS and ruleset.digest not in self._rulesets:
            del self._rulesets[next(iter(self._rulesets))]
        self._rulesets[ruleset.digest] = ruleset

    def is_absent(self, digest: str) -> bool:
        """Tell whether the topology was searched in vain within the last `SEARCH_AGAIN_S`."""
        searched_at = self._absent.get(digest)
        return searched_at is not None and self._clock() - searched_at < SEARCH_AGAIN_S

    def read(self, digest: str) -> Ruleset:
        """Read a ruleset from the topology, and hold it in memory. Blocks.

        Raises:
            UnknownRuleset: The topology does not have it.
        """
        if self.is_absent(digest):
            raise UnknownRuleset(digest)
        for version in reversed(self._topology.rulesets.versions()):
            key = version.name, version.version
            # An older version of this program may have accepted what this one refuses.
            with contextlib.suppress(RulesetError):
                if key not in self._digests:
                    self._digests[key] = rules_digest(load(version.document))
                if self._digests[key] == digest:
                    ruleset = parse(version.document)
                    self.add(ruleset)
                    return ruleset
        if len(self._absent) >= MAX_ABSENT:
            self._absent.clear()
        self._absent[digest] = self._clock()
        raise UnknownRuleset(digest)
