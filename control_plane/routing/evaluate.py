"""Decides which cell a request belongs to: the only place where that is decided.

Rules are tried in their order, and the first one to answer decides. A rule whose matches hold
takes texts out of the request (captures), decodes some of them (transforms), and makes a key of
them. The key's cell is the answer. If the key is a claim, only the topology can say whose it is,
and that takes a look-up: in a dict for a test, in a blocking cursor for the REST API, in an
asynchronous one for the classifier. So that all of them run this same evaluator, it does no
look-up. `Evaluation.resume` either gives the decision, or says which claims it needs the owners
of, and is resumed with their cells' ids:

    evaluation = Evaluation(ruleset, Request.of("/acme/app"), cells)
    evaluation.resume()          # (("route", "acme"), ("redirect_route", "acme"))
    evaluation.resume([None, 2]) # Decision(ToCell("cell-2", 2), "path", "redirect_route:acme", …)

The claims of one rule are a chain: the first of them that has an owner counts. They are asked for
together, because one look-up for several keys costs about what it costs for one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from control_plane.routing import tokens
from control_plane.routing.matching import Subjects, match_failure
from control_plane.routing.model import (
    Cell,
    Cells,
    ClaimKey,
    Decision,
    Outcome,
    Reason,
    Request,
    Step,
)
from control_plane.routing.outcomes import (
    FROZEN,
    NO_RULE,
    cell_outcome,
    keyed_cell,
    policy_outcome,
    proxied_cell,
    weighted_outcome,
)
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Proxy,
    Rule,
    Ruleset,
    TransformKind,
)

MAX_KEY_CHARS = 1024
"""No claim's value is longer, so a longer key is unknown without a look-up."""

Owners = Callable[[tuple[ClaimKey, ...]], Sequence[int | None]]
"""A blocking look-up: for each claim the id of the cell that owns it, or None."""
Steps = Generator[tuple[ClaimKey, ...], Sequence[int | None], Decision]


@dataclass(slots=True)
class _Chain:
    """A rule's claims, which are to be looked up before it can answer."""

    rule: Rule
    claims: tuple[ClaimKey, ...]


_Answer = Decision | tuple[str, str]
"""What a rule says: a decision; or (result, why) of a `Step`, and the next rule is asked."""


def decide(
    ruleset: Ruleset,
    request: Request,
    cells: Cells,
    owners: Owners,
    *,
    trace: bool = True,
) -> Decision:
    """Decide with a blocking look-up."""
    evaluation = Evaluation(ruleset, request, cells, trace=trace)
    said = evaluation.resume()
    while not isinstance(said, Decision):
        said = evaluation.resume(owners(said))
    return said


def steps(ruleset: Ruleset, request: Request, cells: Cells, *, trace: bool = True) -> Steps:
    """Decide as a generator: it yields claims, is sent their owners, and returns the decision."""
    evaluation = Evaluation(ruleset, request, cells, trace=trace)
    said = evaluation.resume()
    while not isinstance(said, Decision):
        said = evaluation.resume((yield said))
    return said


class Evaluation:
    """One request on its way through the rules.

    Without a trace, rules whose path patterns don't occur are passed over at once. This is no
    generator, because ending one costs as much as evaluating a rule.
    """

    __slots__ = ("_cells", "_chain", "_log", "_rules", "_subjects", "_trace")

    def __init__(
        self, ruleset: Ruleset, request: Request, cells: Cells, *, trace: bool = True
    ) -> None:
        self._subjects = Subjects(request)
        self._cells = cells
        rules = ruleset.rules if trace else ruleset.candidates(self._subjects.path)
        self._rules = iter(rules)
        self._trace = trace
        self._log: list[Step] = []
        self._chain: _Chain | None = None

    def resume(self, owners: Sequence[int | None] = ()) -> Decision | tuple[ClaimKey, ...]:
        """Go on until the decision, or until claims are to be looked up.

        Args:
            owners: For each claim that the call before asked for, its cell's id, or None.
        """
        chain, self._chain = self._chain, None
        if chain is not None:
            answer = _owned(chain, owners, self._cells, self._subjects.request)
            if isinstance(answer, Decision):
                return self._decided(chain.rule, answer)
            self._log.append(Step(chain.rule.id, *answer))
        for rule in self._rules:
            said = _try_rule(rule, self._subjects, self._cells)
            if isinstance(said, _Chain):
                self._chain = said
                return said.claims
            if isinstance(said, Decision):
                return self._decided(rule, said)
            if self._trace:
                self._log.append(Step(rule.id, *said))
        why = "no rule matched"
        self._log.append(Step("-", "refused", why))
        return Decision(NO_RULE, None, None, why, None, tuple(self._log) if self._trace else ())

    def _decided(self, rule: Rule, decision: Decision) -> Decision:
        if not self._trace:
            return decision
        self._log.append(Step(rule.id, "decided", decision.reason))
        return replace(decision, trace=tuple(self._log))


def _try_rule(rule: Rule, subjects: Subjects, cells: Cells) -> _Answer | _Chain:
    values: dict[str, str] = {}
    for match in rule.matches:
        failure = match_failure(match, subjects, values)
        if failure is not None:
            return "skipped", failure
    for transform in rule.transforms:
        rendered = transform.input.render(values)
        if rendered is None:
            return "skipped", f"nothing to decode in {transform.input.source}"
        problem = _transform(transform.kind, transform.value, transform.output, rendered, values)
        if problem is not None:
            outcome = policy_outcome(rule.policies.on_invalid, cells, Reason.INVALID)
            return _answer(rule, outcome, "invalid", None, f"{transform.kind}: {problem}")
    for name in rule.required:
        if not values.get(name):
            return "skipped", f"{name} does not exist"
    if isinstance(rule.action, Proxy):
        return _proxy(rule, rule.action, cells)
    return _classify(rule, rule.action, values, cells)


def _transform(
    kind: TransformKind, value: Regex | None, output: str, text: str, values: dict[str, str]
) -> str | None:
    """Decode ``text`` into ``values``; return the reason if it can't be decoded."""
    decoded: tokens.Decoded | str
    if kind is TransformKind.ROUTABLE_TOKEN_PAYLOAD:
        decoded = tokens.decode_routable_payload(text)
    elif kind is TransformKind.ROUTABLE_JSON:
        decoded = tokens.decode_routable_json(text)
    else:
        assert value is not None
        decoded = _decode_match(value, text)
    if isinstance(decoded, str):
        return decoded
    for key, part in decoded.items():
        values[f"{output}.{key}"] = part
    return None


def _decode_match(value: Regex, text: str) -> tokens.Decoded | str:
    """Decode base64 and return what the regex captures of it, or the reason why it can't."""
    raw = tokens.decode_base64_text(text)
    if isinstance(raw, str):
        return raw
    captured = value.captures(raw)
    if captured is None:
        return f"the decoded text does not match {value.pattern}"
    return {name: part.decode("utf-8", "replace") for name, part in captured.items()}


def _proxy(rule: Rule, action: Proxy, cells: Cells) -> _Answer:
    if action.names_cell:
        key = f"address:{action.address}" if action.cell is None else f"cell:{action.cell}"
        return _to_cell(rule, key, proxied_cell(action, cells), cells, f"proxy to {key}")
    weighted = weighted_outcome(action.weights, cells)
    if weighted is not None:
        return Decision(weighted, rule.id, None, "any cell that takes new traffic, by weight")
    outcome = policy_outcome(rule.policies.on_cell_down, cells, Reason.CELL_DOWN)
    return _answer(rule, outcome, "cell_down", None, "no cell takes new traffic")


def _classify(
    rule: Rule, action: Classify, values: dict[str, str], cells: Cells
) -> _Answer | _Chain:
    if action.type is ClassifyType.CLAIM:
        return _chain(rule, action, values)
    if action.type is ClassifyType.FIRST_CELL:
        return _to_cell(rule, "first_cell", cells.first, cells, "the first cell")
    assert action.value is not None
    value = action.value.render(values)
    if value is None:
        return "skipped", f"missing value for {action.value.source}"
    key = f"{action.type.lower()}:{value[:MAX_KEY_CHARS]}"
    cell = keyed_cell(action.type, value, cells)
    return _to_cell(rule, key, cell, cells, f"{key} names the cell")


def _chain(rule: Rule, action: Classify, values: dict[str, str]) -> tuple[str, str] | _Chain:
    chain: list[ClaimKey] = []
    for bucket, template in action.claims:
        value = template.render(values)
        if value is not None and len(value) <= MAX_KEY_CHARS:
            chain.append((bucket, value))
    if not chain:
        return "skipped", "missing value for every claim"
    return _Chain(rule, tuple(chain))


def _owned(chain: _Chain, owners: Sequence[int | None], cells: Cells, request: Request) -> _Answer:
    for claim, owner in zip(chain.claims, owners, strict=True):
        cell = cells.by_id.get(owner) if owner is not None else None
        if cell is not None:
            key = f"{claim[0]}:{claim[1]}"
            why = f"{key} is claimed by {cell.name}"
            return _to_cell(chain.rule, key, cell, cells, why, claim)
        if owner is not None and owner < 0:
            return _held(chain.rule, claim, owner, cells, request)
    first = chain.claims[0]
    return _to_cell(chain.rule, f"{first[0]}:{first[1]}", None, cells, "")


def _held(rule: Rule, claim: ClaimKey, owner: int, cells: Cells, request: Request) -> _Answer:
    """Answer for a claim that a move holds, whose number ``owner`` is minus of."""
    key = f"{claim[0]}:{claim[1]}"
    hold = cells.holds.get(owner)
    if hold is None:
        why = f"{key} is held by move {-owner}, of which nothing is known here"
        return Decision(FROZEN, rule.id, key, why, claim)
    number = hold.cell_for(rule.id, request)
    cell = None if number is None else cells.by_id.get(number)
    if cell is None:
        why = f"{key} is frozen by move {-owner}, which refuses {request.method} for now"
        return Decision(FROZEN, rule.id, key, why, claim)
    why = f"{key} is held by move {-owner}, which sends this request to {cell.name}"
    return _to_cell(rule, key, cell, cells, why, claim)


def _to_cell(
    rule: Rule,
    key: str,
    cell: Cell | None,
    cells: Cells,
    why: str,
    claim: ClaimKey | None = None,
) -> _Answer:
    """Answer with the key's cell, or by a policy: the key may be unknown, or the cell down."""
    outcome = cell_outcome(cell, rule.policies, cells)
    if cell is None:
        return _answer(rule, outcome, "unknown", key, f"{key} is unknown")
    if cell.id in cells.serving:
        assert outcome is not None
        return Decision(outcome, rule.id, key, why, claim)
    return _answer(rule, outcome, "cell_down", key, f"{why}, but {cell.name} is not serving", claim)


def _answer(
    rule: Rule,
    outcome: Outcome | None,
    result: str,
    key: str | None,
    why: str,
    claim: ClaimKey | None = None,
) -> _Answer:
    if outcome is None:
        return result, why
    return Decision(outcome, rule.id, key, why, claim)
