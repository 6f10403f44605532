"""The route table: the rules in their order as one matcher, so that first match stays first match.

Element 0 takes what the classifier decided (a hash map over the cell header, which no client can
set). Then comes one element per rule. A native rule with a key is a hash map over the extracted
key: a miss goes on with the next element, as the rule does. Extraction runs once per request, in
filters; see `extraction`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from control_plane.compiler.model import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    ROUTES,
    ROUTES_NAME,
    RULE_HEADER,
    TIER_HEADER,
    EnvoyResource,
    TrafficPolicy,
    cell_cluster,
    refusal,
)
from control_plane.compiler.native import (
    SENTINEL,
    AskClassifier,
    Condition,
    Extraction,
    NativeRule,
    known_keys,
)
from control_plane.routing.evaluate import RETRY_AFTER_S, policy_outcome
from control_plane.routing.model import Cell, Cells, Outcome, Status, ToCell, Weighted
from control_plane.routing.ruleset import (
    Classify,
    ClassifyType,
    Next,
    Policy,
    Proxy,
    Rule,
    Ruleset,
    UseStatus,
)

AUTHZ_FILTER = "envoy.filters.http.ext_authz"
_NO_RULE = Status(404)
_REASONS = {404: "no such tenant or page is known here", 503: "its cell can't be reached now"}
Analysed = NativeRule | AskClassifier
Matcher = Any
"""xds.type.matcher.v3.Matcher; xds-protos carries no types."""
OnMatch = Any


def key_object(extraction: Extraction) -> str:
    """The filter state object that holds an extracted key.

    Named by content: whatever listener a connection came in by, a name means one extraction.
    """
    return f"cellway.key.{_digest(repr(extraction))}"


def routes_name(analysed: Sequence[Analysed]) -> str:
    """The route table's name: it changes with the extractions that it relies on.

    So a listener and the routes that fit it are taken up together, and a connection of an older
    listener, which drains, keeps the routes that fit its filters.
    """
    extractions = [repr(one.extraction) for one in analysed if isinstance(one, NativeRule)]
    return f"{ROUTES_NAME}:{_digest(''.join(extractions))}"


def listener_key(analysed: Sequence[Analysed]) -> tuple[object, ...]:
    """What of an analysed ruleset the listener depends on."""
    extractions = tuple(one.extraction for one in analysed if isinstance(one, NativeRule))
    return extractions, needs_second_try(analysed)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def compile_routes(
    ruleset: Ruleset, analysed: Sequence[Analysed], cells: Cells, policy: TrafficPolicy
) -> EnvoyResource:
    """The one RouteConfiguration of the edge."""
    table = _Table(cells, policy)
    host = route_components_pb2.VirtualHost(
        name="cellway", domains=["*"], matcher=table.matcher(ruleset, analysed)
    )
    host.request_headers_to_add.append(_header(TIER_HEADER, "native", only_if_absent=True))
    retry = host.retry_policy
    # Nothing of the request was seen by the cell, so trying once more is safe.
    retry.retry_on = "connect-failure,refused-stream"
    retry.num_retries.value = 1
    name = routes_name(analysed)
    routes = route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])
    return EnvoyResource(ROUTES, name, routes.SerializeToString(deterministic=True))


def needs_second_try(analysed: Iterable[Analysed]) -> bool:
    """Whether a dead classifier hands some request over to the next rule."""
    return any(
        isinstance(one, AskClassifier) and isinstance(one.rule.policies.on_classifier_down, Next)
        for one in analysed
    )


class _Table:
    def __init__(self, cells: Cells, policy: TrafficPolicy) -> None:
        self._cells = cells
        self._policy = policy

    def matcher(self, ruleset: Ruleset, analysed: Sequence[Analysed]) -> Matcher:
        matcher = matcher_pb2.Matcher()
        elements = matcher.matcher_list.matchers
        decided = elements.add()
        decided.predicate.CopyFrom(_predicate((Condition((CELL_HEADER,), r"\C*"),)))
        decided.on_match.matcher.CopyFrom(self._decided(ruleset))
        if needs_second_try(analysed):
            failed = elements.add()
            failed.predicate.CopyFrom(_predicate((Condition((AUTHZ_FAILED_HEADER,), "true"),)))
            self._rules(failed.on_match.matcher, analysed, classifier_down=True)
        self._rules(matcher, analysed, classifier_down=False)
        return matcher

    def _rules(
        self, matcher: Matcher, analysed: Sequence[Analysed], *, classifier_down: bool
    ) -> None:
        asked: set[tuple[tuple[Condition, ...], Policy]] = set()
        for one in analysed:
            if isinstance(one, AskClassifier):
                down = one.rule.policies.on_classifier_down
                if classifier_down and isinstance(down, Next):
                    continue
                if (one.conditions, down) in asked:
                    continue
                asked.add((one.conditions, down))
                on_match = self._ask(one.rule, down, down_already=classifier_down)
            else:
                made = self._native(one)
                if made is None:
                    continue
                on_match = made
            conditions = _conditions(one)
            if not conditions:
                # It takes every request, so what follows can't be reached.
                matcher.on_no_match.CopyFrom(on_match)
                return
            element = matcher.matcher_list.matchers.add()
            element.predicate.CopyFrom(conditions)
            element.on_match.CopyFrom(on_match)
        matcher.on_no_match.CopyFrom(_action(self._route(_NO_RULE, None)))

    def _decided(self, ruleset: Ruleset) -> Matcher:
        """What the classifier said, in the cell header: a cell, or a refusal."""
        matcher = matcher_pb2.Matcher()
        _tree_input(matcher, http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=CELL_HEADER))
        entries = matcher.matcher_tree.exact_match_map.map
        for cell in self._cells.all:
            entries[cell.name].CopyFrom(_action(self._route(ToCell(cell.name, cell.id), None)))
        for code in sorted({404, 503, *_statuses(ruleset)}):
            entries[refusal(code)].CopyFrom(_action(self._route(_status(code), None)))
        # A cell that this edge does not know yet, or no more: refused, never guessed.
        matcher.on_no_match.CopyFrom(_action(self._route(_status(503), None)))
        return matcher

    def _ask(self, rule: Rule, down: Policy, *, down_already: bool) -> OnMatch:
        """Ask the classifier; the route's own action is what a dead classifier gets."""
        outcome = _status(503) if isinstance(down, Next) else policy_outcome(down, self._cells)
        route = self._route(outcome, rule)
        if not down_already:
            check = ext_authz_pb2.ExtAuthzPerRoute()
            check.check_settings.SetInParent()
            route.typed_per_filter_config[AUTHZ_FILTER].Pack(check)
        return _action(route)

    def _native(self, one: NativeRule) -> OnMatch | None:
        """A native rule's answer; None where it always hands over to the next rule."""
        if one.extraction is None:
            outcome = self._fixed(one.rule)
            return None if outcome is None else _action(self._route(outcome, one.rule))
        assert isinstance(one.rule.action, Classify)
        on_match = matcher_pb2.Matcher.OnMatch()
        tree = on_match.matcher
        _tree_input(tree, network_inputs_pb2.FilterStateInput(key=key_object(one.extraction)))
        entries = tree.matcher_tree.exact_match_map.map
        for key, cell in known_keys(one.rule.action, self._cells).items():
            reached = self._reach(one.rule, cell)
            if reached is not None:
                entries[SENTINEL + key].CopyFrom(_action(self._without_asking(reached, one.rule)))
        if not entries:
            return None
        unknown = self._apply(one.rule.policies.on_unknown)
        if unknown is not None:
            tree.on_no_match.CopyFrom(_action(self._without_asking(unknown, one.rule)))
        return on_match

    def _without_asking(self, outcome: Outcome, rule: Rule) -> route_components_pb2.Route:
        """A route that is found only after the extraction: before it the request may have looked
        like one for the classifier, whose filter is then in the chain and must be told no."""
        route = self._route(outcome, rule)
        route.typed_per_filter_config[AUTHZ_FILTER].Pack(
            ext_authz_pb2.ExtAuthzPerRoute(disabled=True)
        )
        return route

    def _fixed(self, rule: Rule) -> Outcome | None:
        action = rule.action
        if isinstance(action, Proxy):
            if action.cell is None and action.address is None:
                return self._weighted(rule, action)
            cell = (
                self._cells.by_name.get(action.cell)
                if action.cell is not None
                else self._cells.by_address.get(str(action.address).lower())
            )
        elif action.type is ClassifyType.FIRST_CELL:
            cell = self._cells.first
        else:
            assert action.value is not None
            cell = known_keys(action, self._cells).get(action.value.source)
        return self._apply(rule.policies.on_unknown) if cell is None else self._reach(rule, cell)

    def _weighted(self, rule: Rule, action: Proxy) -> Outcome | None:
        choices = self._cells.weighted
        if action.weights is not None:
            by_name = self._cells.by_name
            choices = tuple(
                (name, weight)
                for name, weight in action.weights
                if weight and name in by_name and by_name[name].serving
            )
        return Weighted(choices) if choices else self._apply(rule.policies.on_cell_down)

    def _reach(self, rule: Rule, cell: Cell) -> Outcome | None:
        if cell.serving:
            return ToCell(cell.name, cell.id)
        return self._apply(rule.policies.on_cell_down)

    def _apply(self, policy: Policy) -> Outcome | None:
        return None if isinstance(policy, Next) else policy_outcome(policy, self._cells)

    def _route(self, outcome: Outcome, rule: Rule | None) -> route_components_pb2.Route:
        """One route; with a rule, the request to the cell says which cell and rule it was."""
        route = route_components_pb2.Route()
        route.match.prefix = "/"
        if isinstance(outcome, Status):
            _refuse(route, outcome, rule)
            return route
        action = route.route
        if isinstance(outcome, ToCell):
            action.cluster = cell_cluster(outcome.cell)
            if rule is not None:
                route.request_headers_to_add.append(_header(CELL_HEADER, outcome.cell))
        else:
            for name, weight in outcome.choices:
                target = action.weighted_clusters.clusters.add(name=cell_cluster(name))
                target.weight.value = weight
                target.request_headers_to_add.append(_header(CELL_HEADER, name))
        if rule is not None:
            route.request_headers_to_add.append(_header(RULE_HEADER, rule.id))
        action.timeout.FromMilliseconds(round(self._policy.request_timeout_s * 1000))
        action.idle_timeout.FromMilliseconds(round(self._policy.stream_idle_timeout_s * 1000))
        return route


def _refuse(route: route_components_pb2.Route, outcome: Status, rule: Rule | None) -> None:
    reason = _REASONS.get(outcome.code, "refused by the ruleset")
    route.direct_response.status = outcome.code
    route.direct_response.body.inline_string = (
        f'{{"status": {outcome.code}, "title": "cellway: {reason}"}}\n'
    )
    route.response_headers_to_add.append(_header("content-type", "application/problem+json"))
    if outcome.retry_after is not None:
        route.response_headers_to_add.append(_header("retry-after", str(outcome.retry_after)))
    if rule is not None:
        route.metadata.filter_metadata["cellway"].update({"rule": rule.id})


def _status(code: int) -> Status:
    return Status(code, RETRY_AFTER_S if code in {429, 503} else None)


def _statuses(ruleset: Ruleset) -> set[int]:
    """Every status that some policy may give."""
    return {
        policy.code
        for rule in ruleset.rules
        for policy in (
            rule.policies.on_unknown,
            rule.policies.on_cell_down,
            rule.policies.on_invalid,
            rule.policies.on_classifier_down,
        )
        if isinstance(policy, UseStatus)
    }


def _header(name: str, value: str, *, only_if_absent: bool = False) -> base_pb2.HeaderValueOption:
    option = base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value))
    actions = base_pb2.HeaderValueOption.HeaderAppendAction
    option.append_action = (
        actions.ADD_IF_ABSENT if only_if_absent else actions.OVERWRITE_IF_EXISTS_OR_ADD
    )
    return option


def _pack(name: str, message: Message) -> extension_pb2.TypedExtensionConfig:
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=packed)


def _action(route: route_components_pb2.Route) -> OnMatch:
    return matcher_pb2.Matcher.OnMatch(action=_pack("route", route))


def _tree_input(matcher: Matcher, message: Message) -> None:
    matcher.matcher_tree.input.CopyFrom(_pack("input", message))


def _conditions(one: Analysed) -> Any:
    """The predicate of a rule's element; None if it takes every request."""
    predicates = [_predicate((condition,)) for condition in one.conditions]
    if isinstance(one, NativeRule) and one.extraction is not None:
        extracted = matcher_pb2.Matcher.MatcherList.Predicate()
        state = network_inputs_pb2.FilterStateInput(key=key_object(one.extraction))
        extracted.single_predicate.input.CopyFrom(_pack("input", state))
        extracted.single_predicate.value_match.prefix = SENTINEL
        predicates.append(extracted)
    return _all(predicates) if predicates else None


def _all(predicates: list[Any]) -> Any:
    if len(predicates) == 1:
        return predicates[0]
    joined = matcher_pb2.Matcher.MatcherList.Predicate()
    joined.and_matcher.predicate.extend(predicates)
    return joined


def _predicate(conditions: Sequence[Condition]) -> Any:
    return _all([_one(condition) for condition in conditions])


def _one(condition: Condition) -> Any:
    options = [_single(header, condition.regex) for header in condition.headers]
    found = options[0]
    if len(options) > 1:
        found = matcher_pb2.Matcher.MatcherList.Predicate()
        found.or_matcher.predicate.extend(options)
    if not condition.invert:
        return found
    negated = matcher_pb2.Matcher.MatcherList.Predicate()
    negated.not_matcher.CopyFrom(found)
    return negated


def _single(header: str, regex: str) -> Any:
    predicate = matcher_pb2.Matcher.MatcherList.Predicate()
    single = predicate.single_predicate
    single.input.CopyFrom(
        _pack("input", http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=header))
    )
    single.value_match.safe_regex.google_re2.SetInParent()
    single.value_match.safe_regex.regex = regex
    return predicate
