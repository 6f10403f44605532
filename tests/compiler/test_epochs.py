"""What the edge's cache is told."""

from __future__ import annotations

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2

from control_plane.compiler.epochs import compile_epochs, epochs_text
from control_plane.names import ECDS, EPOCHS_FILTER


def test_only_shards_above_the_floor_are_told_by_shard() -> None:
    assert epochs_text(7, {200: 9, 3: 8, 4: 7, 5: 6}) == "7;3:8,200:9"
    assert epochs_text(0, {}) == "0;"


def test_the_resource_sets_the_filter_state_object() -> None:
    made = compile_epochs(7, {3: 8})
    assert (made.type_url, made.name) == (ECDS, EPOCHS_FILTER)
    wrapped = extension_pb2.TypedExtensionConfig.FromString(made.body)
    assert wrapped.name == EPOCHS_FILTER
    config = set_filter_state_pb2.Config()
    assert wrapped.typed_config.Unpack(config)
    (value,) = config.on_request_headers
    assert (value.object_key, value.factory_key) == (EPOCHS_FILTER, "envoy.string")
    assert value.format_string.text_format_source.inline_string == "7;3:8"
    assert compile_epochs(7, {3: 8, 1: 2}) == made
