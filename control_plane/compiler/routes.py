"""The route table: the rules in their order as one matcher, so that first match stays first match.

The matcher is a list of elements, each with a predicate over request headers and what to do if it
holds. If that is another matcher, and nothing in it matches, Envoy goes on with the next element,
as the evaluator goes on with the next rule. For the rules session (a key), org (a claim) and
anywhere (all cells by weight) the list is:

    x-cellway-cell is there            the classifier's answer: a hash map from cell to route
    the classifier did not answer      the list without the routes that ask it (`second_try`)
    cookie holds _session=             a known key → its cell; an unknown key → on_unknown
    path holds /<org>                  a route that asks the classifier; what it says is put in
                                       x-cellway-cell, and the table is read again from the top
    otherwise                          anywhere

What each rule gives is said by `control_plane.routing.outcomes`; here it is only translated. A
native rule with a key tells by one regex whether a known key is there, and by a tree of further
tests which (`key_tree`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
from control_plane.compiler.model import EnvoyResource, TrafficPolicy
from control_plane.compiler.native.analyse import (
    Analysed,
    AskClassifier,
    NativeRule,
    analyse,
    needs_second_try,
)
from control_plane.compiler.native.conditions import Condition
from control_plane.compiler.native.key_lookup import KeyLookup
from control_plane.compiler.route_actions import RouteActions
from control_plane.compiler.route_names import RouteNames, name_routes
from control_plane.names import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    MISDIRECTED,
    RDS,
    ROUTES_NAME,
    TOLD_REASONS,
    refusal,
)
from control_plane.routing import outcomes
from control_plane.routing.model import Cells, Outcome, Reason, ToCell
from control_plane.routing.rules.ruleset import Policy, Rule, Ruleset


@dataclass(frozen=True, slots=True)
class AnalysedRuleset:
    """A ruleset with what the compiler makes of it once, whatever the cells."""

    ruleset: Ruleset
    rules: tuple[Analysed, ...]
    second_try: bool
    """Whether a dead classifier hands some request over to the next rule."""
    names: RouteNames

    @classmethod
    def of(cls, ruleset: Ruleset) -> AnalysedRuleset:
        """Analyse a ruleset."""
        rules = tuple(analyse(rule) for rule in ruleset.rules)
        second_try = needs_second_try(rules)
        return cls(ruleset, rules, second_try, name_routes(ruleset, second_try=second_try))


def compile_routes(
    analysed: AnalysedRuleset, cells: Cells, policy: TrafficPolicy, spread: Container[str]
) -> EnvoyResource:
    """Return the one RouteConfiguration of the edge.

    Args:
        spread: The names of the cells that have several endpoints.
    """
    filters = route_filters(analysed.ruleset, policy, second_try=analysed.second_try)
    table = _Table(cells, RouteActions(policy, spread), filters, analysed)
    host = route_components_pb2.VirtualHost(name="cellway", domains=["*"], matcher=table.matcher())
    routes = route_pb2.RouteConfiguration(name=ROUTES_NAME, virtual_hosts=[host])
    return EnvoyResource(RDS, ROUTES_NAME, routes.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class _Table:
    cells: Cells
    actions: RouteActions
    filters: RouteFilters
    analysed: AnalysedRuleset

    def matcher(self) -> Matcher:
        matcher = matcher_pb2.Matcher()
        decided = matcher_pb2.Matcher.OnMatch(matcher=self._decided())
        add(matcher, contains(CELL_HEADER, ""), decided)
        if self.analysed.second_try:
            failed = matcher_pb2.Matcher.OnMatch()
            self._add_rules(failed.matcher, classifier_down=True)
            add(matcher, holds(Condition((AUTHZ_FAILED_HEADER,), "true")), failed)
        self._add_rules(matcher, classifier_down=False)
        return matcher

    def _decided(self) -> Matcher:
        """Build the map over the cell header, in which the classifier names a cell or refuses."""
        routes = {c.name: self.actions.route(ToCell(c.name, c.id), None) for c in self.cells.all}
        for code in sorted(outcomes.refusal_codes(self.analysed.ruleset)):
            # Without a reason it is a key that nobody has, or what the ruleset says of others.
            plain = Reason.UNKNOWN if code == outcomes.NO_RULE.code else Reason.RULESET
            routes[refusal(code)] = self.actions.route(outcomes.refusal(code, plain), None)
            for reason in TOLD_REASONS:
                refused = outcomes.refusal(code, Reason(reason))
                routes[refusal(code, reason)] = self.actions.route(refused, None)
        if self.filters.again:
            # The edge cache's script asks again; if it gets no other cell, this is the answer.
            again = self.actions.route(outcomes.MISDIRECTED, None)
            again.name = self.analysed.names.again
            _turn_on(again, self.filters.again)
            routes[MISDIRECTED] = again
        matcher = by_header(CELL_HEADER, routes)
        # A cell that this edge does not know yet, or no more: refused, never guessed.
        matcher.on_no_match.CopyFrom(self._route(outcomes.CELL_NOT_HERE, None))
        return matcher

    def _add_rules(self, matcher: Matcher, *, classifier_down: bool) -> None:
        asked: set[tuple[tuple[Condition, ...], Policy]] = set()
        for one in self.analysed.rules:
            if isinstance(one, AskClassifier):
                # Whatever the rule, the classifier evaluates all: a second such would never be got.
                key = one.conditions, one.rule.policies.on_classifier_down
                if key in asked:
                    continue
                asked.add(key)
            on_match = self._on_match(one, classifier_down=classifier_down)
            if on_match is None:
                continue
            conditions = _conditions(one)
            if conditions is None:
                # It takes every request, so what follows can't be reached.
                matcher.on_no_match.CopyFrom(on_match)
                return
            add(matcher, conditions, on_match)
        matcher.on_no_match.CopyFrom(self._route(outcomes.NO_RULE, None))

    def _on_match(self, one: Analysed, *, classifier_down: bool) -> OnMatch | None:
        """Build what a rule does; None where it always hands over to the next one."""
        if isinstance(one, AskClassifier):
            return self._ask(one.rule, classifier_down=classifier_down)
        if one.lookup is not None:
            ask = self._ask(one.rule, classifier_down=classifier_down)
            return self._keyed(one.rule, one.lookup, ask)
        return self._route(outcomes.fixed_outcome(one.rule, self.cells), one.rule)

    def _ask(self, rule: Rule, *, classifier_down: bool) -> OnMatch | None:
        """Build the routes that ask the classifier.

        Their own action is what a dead classifier gets. Where it is dead already, that action is
        all there is; None: the next rule is to be asked.
        """
        down = outcomes.classifier_down_outcome(rule, self.cells)
        if classifier_down:
            return self._route(down, rule)
        reading = self.actions.route(down or outcomes.NO_CLASSIFIER, rule)
        reading.name = self.analysed.names.by_rule[rule.id]
        writing = route_components_pb2.Route()
        writing.CopyFrom(reading)
        _turn_on(reading, self.filters.reading)
        _turn_on(writing, self.filters.writing)
        return to_route(reading) if reading == writing else _by_method(reading, writing)

    def _keyed(self, rule: Rule, lookup: KeyLookup, ask: OnMatch | None) -> OnMatch | None:
        """Build what a key leads to: known ones first, then an unknown one.

        One condition tells all keys of serving cells from the rest; a `KeyTree` finds the cell.

        Args:
            ask: What a request gets of which only the evaluator can say which key counts.
        """
        keys = outcomes.key_outcomes(rule, self.cells)
        serving = {text: keys.serving[key] for text, key in lookup.texts(keys.serving).items()}
        down = sorted(lookup.texts(keys.down))
        keyed = matcher_pb2.Matcher.OnMatch()
        if serving:
            to_cell = matcher_pb2.Matcher.OnMatch()
            texts = sorted(serving)
            KeyTree(lookup, partial(self._cell_route, rule, serving)).fill(to_cell, texts)
            add(keyed.matcher, holds(lookup.holds(texts)), _unless_twice(lookup, to_cell, ask))
        refused = self._route(keys.on_down, rule)
        unknown = self._route(keys.on_unknown, rule)
        if down and (refused is not None or unknown is not None):
            on_down = _unless_twice(lookup, refused, ask)
            if on_down is not None:
                add(keyed.matcher, holds(lookup.holds(down)), on_down)
        if unknown is not None:
            condition = _is_unknown(lookup, sorted([*serving, *down]), asked=ask is not None)
            if down and refused is None:
                # These keys go on to the next rule, and are not unknown.
                condition = all_of([condition, negated(holds(lookup.holds(down)))])
            add(keyed.matcher, condition, unknown)
        return keyed if keyed.matcher.matcher_list.matchers else None

    def _cell_route(self, rule: Rule, serving: Mapping[str, ToCell], text: str) -> OnMatch:
        return to_route(self.actions.route(serving[text], rule))

    def _route(self, outcome: Outcome | None, rule: Rule | None) -> OnMatch | None:
        return None if outcome is None else to_route(self.actions.route(outcome, rule))


def _turn_on(route: route_components_pb2.Route, filters: Mapping[str, Message]) -> None:
    for name, config in filters.items():
        route.typed_per_filter_config[name].Pack(config)


def _by_method(reading: route_components_pb2.Route, writing: route_components_pb2.Route) -> OnMatch:
    """Lead GET and HEAD to one route, all else and upgrades to the other."""
    on_match = matcher_pb2.Matcher.OnMatch()
    add(on_match.matcher, contains("upgrade", ""), to_route(writing))
    methods = matcher_pb2.Matcher.OnMatch()
    methods.matcher.CopyFrom(by_header(":method", {"GET": reading, "HEAD": reading}))
    methods.matcher.on_no_match.CopyFrom(to_route(writing))
    on_match.matcher.on_no_match.CopyFrom(methods)
    return on_match


def _unless_twice(
    lookup: KeyLookup, on_match: OnMatch | None, ask: OnMatch | None
) -> OnMatch | None:
    """Return ``on_match``, but where the key may stand there twice, the classifier's answer.

    Args:
        on_match: What a key that stands there once leads to; None: on to the next rule.
        ask: The classifier's answer; None where it can't be asked.
    """
    if not lookup.mark or (ask is None and on_match is None):
        return on_match
    once = matcher_pb2.Matcher.OnMatch()
    if ask is None:
        assert on_match is not None
        add(once.matcher, negated(holds(lookup.twice())), on_match)
        return once
    add(once.matcher, holds(lookup.twice()), ask)
    if on_match is not None:
        once.matcher.on_no_match.CopyFrom(on_match)
    return once


def _is_unknown(lookup: KeyLookup, known: Sequence[str], *, asked: bool) -> Predicate:
    """Return the predicate that a key stands there; known ones were led elsewhere before.

    Where the key may stand there twice and nobody can be asked, it must not look like a known one.
    """
    predicates = [holds(lookup.whole)]
    if known and not asked:
        twice = [holds(lookup.twice()), holds(lookup.may_hold(known))]
        predicates.append(negated(all_of(twice)))
    return all_of(predicates)


def _conditions(one: Analysed) -> Predicate | None:
    """Return the predicate of a rule's element; None if it takes every request."""
    predicates = [holds(condition) for condition in one.conditions]
    if isinstance(one, NativeRule) and one.lookup is not None:
        predicates.append(contains(one.lookup.header, one.lookup.mark))
    return all_of(predicates) if predicates else None
