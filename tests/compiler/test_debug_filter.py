"""The filter that shows a decision to debug callers."""

from __future__ import annotations

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2

from control_plane.compiler.debug_filter import compile_debug_filter
from control_plane.names import (
    CELL_HEADER,
    DEBUG_FILTER,
    ECDS,
    REVISION_HEADER,
    RULE_HEADER,
    TIER_HEADER,
)


def test_responses_show_cell_rule_tier_and_revision() -> None:
    made = compile_debug_filter(42)
    assert (made.type_url, made.name) == (ECDS, DEBUG_FILTER)
    config = header_mutation_pb2.HeaderMutation()
    wrapped = extension_pb2.TypedExtensionConfig.FromString(made.body)
    assert wrapped.typed_config.Unpack(config)
    shown = [
        (one.append.header.key, one.append.header.value)
        for one in config.mutations.response_mutations
    ]
    copied = [(name, f"%REQ({name})%") for name in (CELL_HEADER, RULE_HEADER, TIER_HEADER)]
    own = (TIER_HEADER, "%METADATA(ROUTE:cellway:tier)%")
    assert shown == [*copied, own, (REVISION_HEADER, "42")]


def test_a_request_that_nobody_else_decided_was_decided_natively() -> None:
    config = header_mutation_pb2.HeaderMutation()
    wrapped = extension_pb2.TypedExtensionConfig.FromString(compile_debug_filter(1).body)
    assert wrapped.typed_config.Unpack(config)
    (mutation,) = config.mutations.request_mutations
    assert (mutation.append.header.key, mutation.append.header.value) == (TIER_HEADER, "native")
    assert mutation.append.append_action == mutation.append.ADD_IF_ABSENT
