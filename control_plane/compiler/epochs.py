"""Tells the edge's cache which of its answers are void: the epochs of the claims' keyspace.

A resource of its own (ECDS), so that a move pushes this and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2

from control_plane.compiler.model import EnvoyResource
from control_plane.names import ECDS, EPOCHS_FILTER


def compile_epochs(floor: int, epochs: Mapping[int, int]) -> EnvoyResource:
    """The filter that sets the filter state object to `epochs_text`."""
    config = set_filter_state_pb2.Config()
    value = config.on_request_headers.add()
    value.object_key, value.factory_key = EPOCHS_FILTER, "envoy.string"
    value.format_string.text_format_source.inline_string = epochs_text(floor, epochs)
    wrapped = extension_pb2.TypedExtensionConfig(name=EPOCHS_FILTER)
    wrapped.typed_config.Pack(config, deterministic=True)
    return EnvoyResource(ECDS, EPOCHS_FILTER, wrapped.SerializeToString(deterministic=True))


def epochs_text(floor: int, epochs: Mapping[int, int]) -> str:
    """``<floor>;<shard>:<revision>,...``, only of shards above the floor, by shard."""
    above = [f"{shard}:{at}" for shard, at in sorted(epochs.items()) if at > floor]
    return f"{floor};{','.join(above)}"
