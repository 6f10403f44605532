"""How the resource types of xDS differ: their order, their wildcards, and what an ACK proves."""

from __future__ import annotations

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS

PHASES = ((SDS,), (CDS, EDS), (LDS, RDS), (ECDS, RTDS))
"""The order in which types are sent, so that make comes before break.

What is referred to is sent and acknowledged before what refers to it: secrets before the clusters
that use them, clusters before the routes to them. Types of one phase do not wait for each other:
Envoy itself holds back its ACK of clusters until their endpoints have come, and a new listener
warms until its routes have come.
"""
PUSH_ORDER = tuple(type_url for phase in PHASES for type_url in phase)
"""All types that are served, in the order of their phases."""
FULL_STATE_TYPES = frozenset({CDS, LDS})
"""Types of which a client may ask for everything without naming anything (the legacy wildcard).

In state of the world a response of such a type is the full state: the client removes what is absent
from it. For the other types the absence of a resource means nothing.
"""
FALSE_ACK_TYPES = frozenset({ECDS, SDS})
"""Types whose ACK may be false: Envoy acknowledges bytes that it has refused, and ignores them.

It compares what comes with the hash of what came last, good or not (seen in 1.40). So the bytes
that a client of such a type has refused prove nothing when they come again, unless other bytes came
in between.
"""
