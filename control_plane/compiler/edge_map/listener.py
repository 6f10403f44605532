"""The filters in the edge's listener that the edge map needs.

    cellway.owners           which stream to follow, and with which key to read it
    cellway.map_epochs       which entries of the map are void: a resource of its own (ECDS)
    cellway.map_misdirected  makes a 503 with Retry-After of a cell's 421

The first two are the module's. They are off (``disabled``), so that no request pays for them: Envoy
makes their configuration nevertheless, and that is all that the module needs. The third is turned
on by the routes to cells that the map has found.

A cell's 421 is not asked again, as that of the edge cache is (docs/adr/0012): for that, each
request would have to note its host in a header before it is known whether it is needed, and one
header more costs an Envoy 5 % of all that a request costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.custom_response.v3 import custom_response_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.custom_response.local_response_policy.v3 import local_response_policy_pb2
from envoy.type.matcher.v3 import status_code_input_pb2

from control_plane.compiler.edge_map.module_messages import filter_message
from control_plane.compiler.model import EnvoyResource
from control_plane.compiler.route_actions import refusal_text
from control_plane.names import (
    MAP_EPOCHS_FILTER,
    MAP_MISDIRECTED_FILTER,
    MODULE_FILTER_TYPE,
    OWNERS_FILTER,
    XDS_CLUSTER,
)
from control_plane.routing.outcomes import MISDIRECTED

Manager = Any
"""HttpConnectionManager; xds-protos carries no types."""
_OWNERS = "owners"
_EPOCHS = "epochs"
_NO_EPOCHS = "off"
"""The text by which everything in the map is void."""


def with_module_filters(listener: EnvoyResource, key: str, asked: int) -> EnvoyResource:
    """Return the edge's listener with the module's filters in front of all others.

    Args:
        listener: The listener without them.
        key: The key of the owners' fingerprints, as 32 hexadecimal digits.
        asked: Requests a second with names of nobody that are left to the classifier.
    """
    owners = f"key={key}\ncluster={XDS_CLUSTER}\nask={asked}\n"

    def insert(manager: Manager) -> bool:
        others = list(manager.http_filters)
        del manager.http_filters[:]
        one = manager.http_filters.add(name=OWNERS_FILTER, disabled=True)
        one.typed_config.CopyFrom(filter_message(_OWNERS, owners))
        _add_epochs(manager)
        _add_misdirected(manager)
        manager.http_filters.extend(others)
        return True

    return edited(listener, insert)


def without_module_filters(listener: EnvoyResource) -> EnvoyResource:
    """Return the listener that `with_module_filters` was given; another one as it is."""

    def remove(manager: Manager) -> bool:
        own = (OWNERS_FILTER, MAP_EPOCHS_FILTER, MAP_MISDIRECTED_FILTER)
        kept = [one for one in manager.http_filters if one.name not in own]
        found = len(kept) < len(manager.http_filters)
        del manager.http_filters[:]
        manager.http_filters.extend(kept)
        return found

    return edited(listener, remove)


def edited(listener: EnvoyResource, edit: Callable[[Manager], bool]) -> EnvoyResource:
    """Return a listener with each of its HTTP connection managers edited.

    Two edits that undo each other give the same bytes.

    Args:
        listener: The listener.
        edit: Returns whether it has changed something; if none has, the listener stays as it is.
    """
    changed = False
    message = listener_pb2.Listener.FromString(listener.body)
    for chain in (*message.filter_chains, message.default_filter_chain):
        for one in chain.filters:
            manager = http_connection_manager_pb2.HttpConnectionManager()
            if one.typed_config.Unpack(manager):
                changed |= edit(manager)
                one.typed_config.Pack(manager, deterministic=True)
    if not changed:
        return listener
    body = message.SerializeToString(deterministic=True)
    return EnvoyResource(listener.type_url, listener.name, body)


def epochs_message(text: str) -> Any:
    """Return the module's filter that takes the text of `compiler.epochs`."""
    return filter_message(_EPOCHS, text)


def _add_epochs(manager: Manager) -> None:
    one = manager.http_filters.add(name=MAP_EPOCHS_FILTER, disabled=True)
    one.config_discovery.config_source.ads.SetInParent()
    one.config_discovery.config_source.resource_api_version = 2  # V3
    one.config_discovery.type_urls.append(MODULE_FILTER_TYPE)
    one.config_discovery.default_config.CopyFrom(epochs_message(_NO_EPOCHS))
    one.config_discovery.apply_default_config_without_warming = True


def _add_misdirected(manager: Manager) -> None:
    answer = local_response_policy_pb2.LocalResponsePolicy()
    answer.status_code.value = MISDIRECTED.code
    answer.body.inline_string = refusal_text(MISDIRECTED)
    headers = {
        "content-type": "application/problem+json",
        "retry-after": str(MISDIRECTED.retry_after),
    }
    for name, value in headers.items():
        option = answer.response_headers_to_add.add()
        option.header.key, option.header.value = name, value
        option.append_action = option.OVERWRITE_IF_EXISTS_OR_ADD
    config = custom_response_pb2.CustomResponse()
    tree = config.custom_response_matcher.matcher_tree
    tree.input.name = "status"
    tree.input.typed_config.Pack(status_code_input_pb2.HttpResponseStatusCodeMatchInput())
    action = tree.exact_match_map.map["421"].action
    action.name = "misdirected"
    action.typed_config.Pack(answer)
    one = manager.http_filters.add(name=MAP_MISDIRECTED_FILTER, disabled=True)
    one.typed_config.Pack(config, deterministic=True)
