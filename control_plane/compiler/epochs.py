"""Tells the edge's cache which of its answers are void, by the epochs of the claims' keyspace.

The cache of an Envoy keeps answers such as "tenant acme is in cell-1". A move makes some of them
wrong, and an answer that is on its way from the classifier meanwhile, too. To list the keys that
have moved would have no bound, and to empty the cache at each move would cost all its answers. So
the keyspace is cut into shards. When an owner changes, its shard's epoch becomes the revision of
that change. An answer carries the revision that it was computed at and the shards of its keys; it
counts only if it is not older than the floor and the epochs of its shards. The text

    7;3:8,200:9

says that answers older than revision 7 are void, of shard 3 those older than 8, and of shard 200
those older than 9. It travels as a filter that sets it as filter state, a resource of its own
(ECDS), so that a move pushes this and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2

from control_plane.compiler.model import EnvoyResource
from control_plane.names import ECDS, EPOCHS_FILTER


def compile_epochs(floor: int, epochs: Mapping[int, int]) -> EnvoyResource:
    """Return the filter that sets the filter state object to `epochs_text`.

    Args:
        floor: The revision below which all answers are void.
        epochs: By shard, the revision below which its answers are void.
    """
    config = set_filter_state_pb2.Config()
    value = config.on_request_headers.add()
    value.object_key, value.factory_key = EPOCHS_FILTER, "envoy.string"
    value.format_string.text_format_source.inline_string = epochs_text(floor, epochs)
    wrapped = extension_pb2.TypedExtensionConfig(name=EPOCHS_FILTER)
    wrapped.typed_config.Pack(config, deterministic=True)
    return EnvoyResource(ECDS, EPOCHS_FILTER, wrapped.SerializeToString(deterministic=True))


def epochs_text(floor: int, epochs: Mapping[int, int]) -> str:
    """Return ``<floor>;<shard>:<revision>,…``, in order, of the shards that are above the floor."""
    above = [f"{shard}:{at}" for shard, at in sorted(epochs.items()) if at > floor]
    return f"{floor};{','.join(above)}"
