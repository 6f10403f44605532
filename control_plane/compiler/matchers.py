"""Builds the parts of Envoy's matchers (xds.type.matcher.v3): header predicates and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from control_plane.compiler.native.conditions import Condition

Matcher = Any
"""xds.type.matcher.v3.Matcher; xds-protos carries no types."""
OnMatch = Any
Predicate = Any


def _pack(name: str, message: Message) -> extension_pb2.TypedExtensionConfig:
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=packed)


def to_route(route: route_components_pb2.Route) -> OnMatch:
    """Return the action that takes a route."""
    return matcher_pb2.Matcher.OnMatch(action=_pack("route", route))


def add(matcher: Matcher, predicate: Predicate, on_match: OnMatch) -> None:
    """Append an element to a list.

    The first element whose predicate holds decides; if its own matcher has no match, the list is
    gone on with.
    """
    element = matcher.matcher_list.matchers.add()
    element.predicate.CopyFrom(predicate)
    element.on_match.CopyFrom(on_match)


def by_header(name: str, routes: Mapping[str, route_components_pb2.Route]) -> Matcher:
    """Return a hash map over a header's value."""
    matcher = matcher_pb2.Matcher()
    matcher.matcher_tree.input.CopyFrom(_header_input(name))
    for value, route in routes.items():
        matcher.matcher_tree.exact_match_map.map[value].CopyFrom(to_route(route))
    return matcher


def holds(condition: Condition) -> Predicate:
    """Return the predicate of a condition."""
    options = [_matches(header, condition.regex) for header in condition.headers]
    predicate = options[0]
    if len(options) > 1:
        predicate = matcher_pb2.Matcher.MatcherList.Predicate()
        predicate.or_matcher.predicate.extend(options)
    return negated(predicate) if condition.invert else predicate


def contains(header: str, text: str) -> Predicate:
    """Return whether a header contains a text, or is there if the text is empty.

    It costs a quarter of a regex.
    """
    if not text:
        return _matches(header, r"\C*")
    predicate = matcher_pb2.Matcher.MatcherList.Predicate()
    predicate.single_predicate.input.CopyFrom(_header_input(header))
    predicate.single_predicate.value_match.contains = text
    return predicate


def starts(header: str, text: str) -> Predicate:
    """Return whether a header's value starts with a text of at least one character."""
    predicate = matcher_pb2.Matcher.MatcherList.Predicate()
    predicate.single_predicate.input.CopyFrom(_header_input(header))
    predicate.single_predicate.value_match.prefix = text
    return predicate


def all_of(predicates: Sequence[Predicate]) -> Predicate:
    """Return whether every one of at least one predicate holds."""
    if len(predicates) == 1:
        return predicates[0]
    joined = matcher_pb2.Matcher.MatcherList.Predicate()
    joined.and_matcher.predicate.extend(predicates)
    return joined


def negated(predicate: Predicate) -> Predicate:
    """Return whether a predicate does not hold."""
    opposite = matcher_pb2.Matcher.MatcherList.Predicate()
    opposite.not_matcher.CopyFrom(predicate)
    return opposite


def _header_input(name: str) -> extension_pb2.TypedExtensionConfig:
    return _pack("input", http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=name))


def _matches(header: str, regex: str) -> Predicate:
    predicate = matcher_pb2.Matcher.MatcherList.Predicate()
    predicate.single_predicate.input.CopyFrom(_header_input(header))
    predicate.single_predicate.value_match.safe_regex.google_re2.SetInParent()
    predicate.single_predicate.value_match.safe_regex.regex = regex
    return predicate
