"""Tells the edge's cache which of its answers are void: the epochs of the claims' keyspace.

A resource of its own (ECDS), so that a move pushes this and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import v3 as state_value
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state import v3 as filter_state
from envoy_data_plane.google.protobuf import Any as AnyMessage

from control_plane.compiler.model import EXTENSION, EnvoyResource

EPOCHS_FILTER = "cellway.epochs"
"""The name of the resource, of the filter and of the filter state object that it sets."""


def compile_epochs(floor: int, epochs: Mapping[int, int]) -> EnvoyResource:
    """The filter that sets the filter state object to `epochs_text`."""
    value = state_value.FilterStateValue(
        object_key=EPOCHS_FILTER,
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string=epochs_text(floor, epochs))
        ),
    )
    config = filter_state.Config(on_request_headers=[value])
    wrapped = core.TypedExtensionConfig(name=EPOCHS_FILTER, typed_config=AnyMessage.pack(config))
    return EnvoyResource(EXTENSION, EPOCHS_FILTER, bytes(wrapped))


def epochs_text(floor: int, epochs: Mapping[int, int]) -> str:
    """``<floor>;<shard>:<revision>,...``, only of shards above the floor, by shard."""
    above = [f"{shard}:{at}" for shard, at in sorted(epochs.items()) if at > floor]
    return f"{floor};{','.join(above)}"
