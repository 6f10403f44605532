"""Variants of the configuration: what some nodes get instead of the plain one, at one revision.

The problem: some nodes can run more than others, for example because a file is installed beside
their Envoy. A node that is sent what it can't run refuses it, and would be left without routes. So
each revision may have several variants, and every node gets the one that its own words ask for:

    variants of revision 812    ""        what every Envoy runs (`PLAIN`)
                                "module"  the same, with what needs a module

Which variant a node gets is decided by a function that the owner of the server gives
(`ChooseVariant`); this room knows nothing of what is in them. A variant that nobody wants is not
made. A node that refuses what only its variant has gets the plain one from then on, see
`fleet.served_variant`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PLAIN = ""
"""The variant that every node can run."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node says of itself in its first request."""

    id: str
    group: str
    version: str
    """Envoy's version, as ``1.40.0``."""
    metadata: Any
    """The node's metadata, a ``google.protobuf.Struct``."""


ChooseVariant = Callable[[NodeFacts], str]
"""Returns the variant for a node. It must be pure: the same facts give the same variant."""


def always_plain(_: NodeFacts) -> str:
    """Return the plain variant, whatever the node says."""
    return PLAIN
