"""The filter that shows a decision to debug callers.

It is a resource of its own, so that a new revision changes nothing else. It is made anew for each
change that reaches the edge, and therefore by protobuf's own classes (docs/adr/0009).
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2

from control_plane.compiler.model import EnvoyResource
from control_plane.names import (
    CELL_HEADER,
    DEBUG_FILTER,
    ECDS,
    REVISION_HEADER,
    ROUTE_METADATA,
    RULE_HEADER,
    TIER_HEADER,
    TIER_KEY,
)


def compile_debug_filter(revision: int) -> EnvoyResource:
    """Return the filter that puts cell, rule, tier and revision on responses."""
    actions = base_pb2.HeaderValueOption.HeaderAppendAction
    config = header_mutation_pb2.HeaderMutation()
    # Whoever else decides says so in this header.
    native = config.mutations.request_mutations.add().append
    native.header.key, native.header.value = TIER_HEADER, "native"
    native.append_action = actions.ADD_IF_ABSENT
    shown = (
        (CELL_HEADER, f"%REQ({CELL_HEADER})%"),
        (RULE_HEADER, f"%REQ({RULE_HEADER})%"),
        (TIER_HEADER, f"%REQ({TIER_HEADER})%"),
        # A route that the edge map has found says so itself; without a value nothing is set.
        (TIER_HEADER, f"%METADATA(ROUTE:{ROUTE_METADATA}:{TIER_KEY})%"),
        (REVISION_HEADER, str(revision)),
    )
    for name, value in shown:
        option = config.mutations.response_mutations.add().append
        option.header.key, option.header.value = name, value
        option.append_action = actions.OVERWRITE_IF_EXISTS_OR_ADD
    wrapped = extension_pb2.TypedExtensionConfig(name=DEBUG_FILTER)
    wrapped.typed_config.Pack(config, deterministic=True)
    return EnvoyResource(ECDS, DEBUG_FILTER, wrapped.SerializeToString(deterministic=True))
