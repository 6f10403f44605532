"""The route table: the rules in their order as one matcher, so that first match stays first match.

Element 0 takes what the classifier decided (a hash map over the cell header, which no client can
set). Then comes one element per rule. A native rule with a key tells by one regex whether a known
key is there, and by a tree of further tests which (`key_tree`). A key that is unknown is a miss,
and goes on with the next element, as the rule does.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from google.protobuf.message import Message
from xds.type.matcher.v3 import matcher_pb2

from control_plane.compiler.filters import RouteFilters, route_filters
from control_plane.compiler.key_tree import KeyTree
from control_plane.compiler.matchers import (
    Matcher,
    OnMatch,
    Predicate,
    add,
    all_of,
    by_header,
    contains,
    holds,
    negated,
    to_route,
)
from control_plane.compiler.model import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    MISDIRECTED,
    ROUTES,
    ROUTES_NAME,
    RULE_HEADER,
    EnvoyResource,
    TrafficPolicy,
    cell_cluster,
    refusal,
)
from control_plane.compiler.native.analyse import (
    Analysed,
    AskClassifier,
    Condition,
    KeyLookup,
    NativeRule,
    known_keys,
)
from control_plane.compiler.retries import RETRY_ELSEWHERE
from control_plane.compiler.route_names import RouteNames
from control_plane.compiler.rules import Rules
from control_plane.routing.evaluate import RETRY_AFTER_S, policy_outcome
from control_plane.routing.model import Cell, Cells, Outcome, Status, ToCell, Weighted
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Next,
    Policy,
    Proxy,
    Rule,
    Ruleset,
    UseStatus,
)

_NO_RULE = Status(404)
_OVERWRITE = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_REASONS = {404: "no such tenant or page is known here", 503: "its cell can't be reached now"}


def compile_routes(
    rules: Rules, cells: Cells, policy: TrafficPolicy, spread: Container[str]
) -> EnvoyResource:
    """The one RouteConfiguration of the edge; ``spread`` cells have several endpoints."""
    asking = route_filters(rules.ruleset, policy, second_try=rules.second_try)
    table = _Table(cells, policy, spread, asking, rules.names)
    host = route_components_pb2.VirtualHost(
        name="cellway", domains=["*"], matcher=table.matcher(rules)
    )
    routes = route_pb2.RouteConfiguration(name=ROUTES_NAME, virtual_hosts=[host])
    return EnvoyResource(ROUTES, ROUTES_NAME, routes.SerializeToString(deterministic=True))


class _Table:
    def __init__(
        self,
        cells: Cells,
        policy: TrafficPolicy,
        spread: Container[str],
        asking: RouteFilters,
        names: RouteNames,
    ) -> None:
        self._cells = cells
        self._policy = policy
        self._spread = spread
        self._asking = asking
        self._names = names

    def matcher(self, rules: Rules) -> Matcher:
        matcher = matcher_pb2.Matcher()
        decided = matcher_pb2.Matcher.OnMatch(matcher=self._decided(rules.ruleset))
        add(matcher, contains(CELL_HEADER, ""), decided)
        if rules.second_try:
            failed = matcher_pb2.Matcher.OnMatch()
            self._rules(failed.matcher, rules.analysed, classifier_down=True)
            add(matcher, holds(Condition((AUTHZ_FAILED_HEADER,), "true")), failed)
        self._rules(matcher, rules.analysed, classifier_down=False)
        return matcher

    def _rules(
        self, matcher: Matcher, analysed: Sequence[Analysed], *, classifier_down: bool
    ) -> None:
        asked: set[tuple[tuple[Condition, ...], Policy]] = set()
        for one in analysed:
            on_match: OnMatch | None
            if isinstance(one, AskClassifier):
                key = one.conditions, one.rule.policies.on_classifier_down
                if key in asked:
                    continue
                asked.add(key)
                on_match = self._ask(one.rule, down_already=classifier_down)
            elif one.lookup is not None:
                on_match = self._keyed(one, one.lookup, classifier_down=classifier_down)
            else:
                outcome = self._fixed(one.rule)
                on_match = None if outcome is None else to_route(self._route(outcome, one.rule))
            if on_match is None:
                continue
            conditions = _conditions(one)
            if not conditions:
                # It takes every request, so what follows can't be reached.
                matcher.on_no_match.CopyFrom(on_match)
                return
            add(matcher, conditions, on_match)
        matcher.on_no_match.CopyFrom(to_route(self._route(_NO_RULE, None)))

    def _decided(self, ruleset: Ruleset) -> Matcher:
        """What the classifier said, in the cell header: a cell, or a refusal."""
        routes = {c.name: self._route(ToCell(c.name, c.id), None) for c in self._cells.all}
        for code in sorted({404, 503, *_statuses(ruleset)}):
            routes[refusal(code)] = self._route(_status(code), None)
        if self._asking.again:
            # The edge cache's script asks again; if it gets no other cell, this is the answer.
            routes[MISDIRECTED] = self._route(_status(503), None)
            routes[MISDIRECTED].name = self._names.again
            _turn_on(routes[MISDIRECTED], self._asking.again)
        matcher = by_header(CELL_HEADER, routes)
        # A cell that this edge does not know yet, or no more: refused, never guessed.
        matcher.on_no_match.CopyFrom(to_route(self._route(_status(503), None)))
        return matcher

    def _ask(self, rule: Rule, *, down_already: bool) -> OnMatch | None:
        """Ask the classifier; the route's own action is what a dead classifier gets.

        None where it is dead already and the next rule is to be asked.
        """
        down = rule.policies.on_classifier_down
        if down_already and isinstance(down, Next):
            return None
        outcome = _status(503) if isinstance(down, Next) else policy_outcome(down, self._cells)
        route = self._route(outcome, rule)
        if down_already:
            return to_route(route)
        route.name = self._names.by_rule[rule.id]
        writing = route_components_pb2.Route()
        writing.CopyFrom(route)
        _turn_on(route, self._asking.reading)
        _turn_on(writing, self._asking.writing)
        if route == writing:
            return to_route(route)
        made = matcher_pb2.Matcher.OnMatch()
        add(made.matcher, contains("upgrade", ""), to_route(writing))
        reading = matcher_pb2.Matcher.OnMatch()
        reading.matcher.CopyFrom(by_header(":method", {"GET": route, "HEAD": route}))
        reading.matcher.on_no_match.CopyFrom(to_route(writing))
        made.matcher.on_no_match.CopyFrom(reading)
        return made

    def _keyed(
        self, one: NativeRule, lookup: KeyLookup, *, classifier_down: bool
    ) -> OnMatch | None:
        """A rule with a key: what each known key gets, then unknown ones; a miss goes on.

        One condition tells all keys of serving cells from the rest; a `KeyTree` finds the cell.
        """
        assert isinstance(one.rule.action, Classify)
        keys = known_keys(one.rule.action, self._cells)
        cells = {text: keys[key] for text, key in sorted(lookup.texts(keys).items())}
        serving = [text for text, cell in cells.items() if cell.serving]
        down = [text for text in cells if not cells[text].serving]
        policies = one.rule.policies
        ask = self._ask(one.rule, down_already=classifier_down)
        found = matcher_pb2.Matcher.OnMatch()
        if serving:
            to_cell = matcher_pb2.Matcher.OnMatch()
            KeyTree(lookup, partial(self._known, one.rule, cells)).fill(to_cell, serving)
            add(found.matcher, holds(lookup.holds(serving)), _unless_twice(lookup, to_cell, ask))
        if down and not isinstance(policies.on_cell_down, Next):
            refused = self._policy_route(policies.on_cell_down, one.rule)
            add(found.matcher, holds(lookup.holds(down)), _unless_twice(lookup, refused, ask))
        if not isinstance(policies.on_unknown, Next):
            unknown = [holds(lookup.whole)]
            if cells and ask is None:
                twice = [holds(lookup.twice()), holds(lookup.may_hold(cells))]
                unknown.append(negated(all_of(twice)))
            add(found.matcher, all_of(unknown), self._policy_route(policies.on_unknown, one.rule))
        return found if found.matcher.matcher_list.matchers else None

    def _known(self, rule: Rule, cells: Mapping[str, Cell], text: str) -> OnMatch:
        cell = cells[text]
        return to_route(self._route(ToCell(cell.name, cell.id), rule))

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

    def _policy_route(self, policy: Policy, rule: Rule) -> OnMatch:
        return to_route(self._route(policy_outcome(policy, self._cells), rule))

    def _apply(self, policy: Policy) -> Outcome | None:
        return None if isinstance(policy, Next) else policy_outcome(policy, self._cells)

    def _route(self, outcome: Outcome, rule: Rule | None) -> route_components_pb2.Route:
        """One route; with a rule, the request to the cell says which cell and rule it was."""
        if isinstance(outcome, Status):
            return _refuse(outcome, rule)
        route = self._to_cells(rule)
        action = route.route
        if isinstance(outcome, ToCell):
            action.cluster = cell_cluster(outcome.cell)
            self._retry(action, [outcome.cell])
            if rule is not None:
                route.request_headers_to_add.append(_header(CELL_HEADER, outcome.cell))
        else:
            self._retry(action, [name for name, _ in outcome.choices])
            for name, weight in outcome.choices:
                target = action.weighted_clusters.clusters.add(name=cell_cluster(name))
                target.weight.value = weight
                target.request_headers_to_add.append(_header(CELL_HEADER, name))
        return route

    def _retry(self, action: route_components_pb2.RouteAction, cells: Iterable[str]) -> None:
        """Try again where a cell has another endpoint to try; preparing for that costs 7 %.

        Only what no endpoint can have seen, whatever the method: see ADR 15.
        """
        if any(name in self._spread for name in cells):
            action.retry_policy.CopyFrom(RETRY_ELSEWHERE)

    def _to_cells(self, rule: Rule | None) -> route_components_pb2.Route:
        """A route without its target."""
        route = _any_path()
        if rule is not None:
            route.request_headers_to_add.append(_header(RULE_HEADER, rule.id))
        route.route.timeout.FromMilliseconds(round(self._policy.request_timeout_s * 1000))
        return route


def _turn_on(route: route_components_pb2.Route, filters: Mapping[str, Message]) -> None:
    for name, config in filters.items():
        route.typed_per_filter_config[name].Pack(config)


def _any_path() -> route_components_pb2.Route:
    route = route_components_pb2.Route()
    route.match.prefix = "/"
    return route


def _refuse(outcome: Status, rule: Rule | None) -> route_components_pb2.Route:
    route = _any_path()
    reason = _REASONS.get(outcome.code, "refused by the ruleset")
    route.direct_response.status = outcome.code
    route.direct_response.body.inline_string = (
        f'{{"status": {outcome.code}, "title": "cellway: {reason}"}}\n'
    )
    answer = {"content-type": "application/problem+json"}
    if outcome.retry_after is not None:
        answer["retry-after"] = str(outcome.retry_after)
    for name, value in answer.items():
        option = route.response_headers_to_add.add(append_action=_OVERWRITE)
        option.header.key, option.header.value = name, value
    if rule is not None:
        route.metadata.filter_metadata["cellway"].update({"rule": rule.id})
    return route


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


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    # Internal headers are taken off each request as it comes in, so there is none to overwrite;
    # looking for one takes longer than all the rest.
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    )


def _unless_twice(lookup: KeyLookup, on_match: OnMatch, ask: OnMatch | None) -> OnMatch:
    """``on_match``, but where the key may stand there twice, the classifier's answer."""
    if not lookup.mark:
        return on_match
    made = matcher_pb2.Matcher.OnMatch()
    if ask is not None:
        add(made.matcher, holds(lookup.twice()), ask)
        made.matcher.on_no_match.CopyFrom(on_match)
    else:
        add(made.matcher, negated(holds(lookup.twice())), on_match)
    return made


def _conditions(one: Analysed) -> Predicate | None:
    """The predicate of a rule's element; None if it takes every request."""
    predicates = [holds(condition) for condition in one.conditions]
    if isinstance(one, NativeRule) and one.lookup is not None:
        predicates.append(contains(one.lookup.header, one.lookup.mark))
    return all_of(predicates) if predicates else None
