"""Decides which cell a request belongs to: the only place where that is decided.

Written sans I/O: an `Evaluation` says which claims it needs looked up (an ordered chain) and is
resumed with the owners' cell ids, so that the same evaluator runs over a dict, a blocking database
cursor or an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from control_plane.names import cell_id
from control_plane.routing import tokens
from control_plane.routing.matching import Subjects, match_failure
from control_plane.routing.model import (
    Cell,
    Cells,
    ClaimKey,
    Decision,
    Outcome,
    Request,
    Status,
    Step,
    Weighted,
)
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Next,
    Policy,
    Proxy,
    Rule,
    Ruleset,
    TransformKind,
    UseCell,
    UseStatus,
)

RETRY_AFTER_S = 5
"""What a refused request is told to wait, in seconds."""
MAX_KEY_CHARS = 1024
"""No claim's value is longer, so a longer key is unknown without asking."""

Owners = Callable[[tuple[ClaimKey, ...]], Sequence[int | None]]
Steps = Generator[tuple[ClaimKey, ...], Sequence[int | None], Decision]


@dataclass(slots=True)
class _Chain:
    """A rule's claims, which are to be looked up before it can answer."""

    rule: Rule
    claims: tuple[ClaimKey, ...]


_Answer = Decision | tuple[str, str]
"""What a rule says: a decision, or (result, why) when the next rule is to be asked."""


def decide(
    ruleset: Ruleset,
    request: Request,
    cells: Cells,
    owners: Owners,
    *,
    trace: bool = True,
) -> Decision:
    """Decide with a blocking look-up: ``owners`` gives the cell id of each claim, or None."""
    evaluation = Evaluation(ruleset, request, cells, trace=trace)
    said = evaluation.resume()
    while not isinstance(said, Decision):
        said = evaluation.resume(owners(said))
    return said


def steps(ruleset: Ruleset, request: Request, cells: Cells, *, trace: bool = True) -> Steps:
    """An evaluation as a generator: yields claims, is sent their owners, returns the decision."""
    evaluation = Evaluation(ruleset, request, cells, trace=trace)
    said = evaluation.resume()
    while not isinstance(said, Decision):
        said = evaluation.resume((yield said))
    return said


class Evaluation:
    """One request against the rules, in order: the first rule to answer decides.

    Without a trace, rules whose path patterns don't occur are passed over at once. No generator,
    because ending one costs as much as evaluating a rule.
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
        """Go on, with the owners of the claims asked for; the decision, or claims to look up."""
        chain, self._chain = self._chain, None
        if chain is not None:
            answer = _owned(chain, owners, self._cells)
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
        return Decision(Status(404), None, None, why, None, tuple(self._log) if self._trace else ())

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
            why = f"{transform.kind}: {problem}"
            return _apply(rule.policies.on_invalid, rule, None, why, cells) or ("invalid", why)
    for name in rule.required:
        if not values.get(name):
            return "skipped", f"{name} does not exist"
    if isinstance(rule.action, Proxy):
        return _proxy(rule, rule.action, cells)
    return _classify(rule, rule.action, values, cells)


def _transform(
    kind: TransformKind, value: Regex | None, output: str, text: str, values: dict[str, str]
) -> str | None:
    """Decode ``text`` into ``values``; the reason if it can't be decoded."""
    decoded: tokens.Decoded | str
    if kind is TransformKind.ROUTABLE_TOKEN_PAYLOAD:
        decoded = tokens.decode_routable_payload(text)
    elif kind is TransformKind.ROUTABLE_JSON:
        decoded = tokens.decode_routable_json(text)
    else:
        assert value is not None
        raw = tokens.decode_base64_text(text)
        if isinstance(raw, str):
            return raw
        captured = value.captures(raw)
        if captured is None:
            return f"the decoded text does not match {value.pattern}"
        decoded = {name: part.decode("utf-8", "replace") for name, part in captured.items()}
    if isinstance(decoded, str):
        return decoded
    for key, part in decoded.items():
        values[f"{output}.{key}"] = part
    return None


def _proxy(rule: Rule, action: Proxy, cells: Cells) -> _Answer:
    if action.cell is not None or action.address is not None:
        if action.cell is not None:
            key, cell = f"cell:{action.cell}", cells.by_name.get(action.cell)
        else:
            key = f"address:{action.address}"
            cell = cells.by_address.get(str(action.address).lower())
        return _to_cell(rule, key, cell, cells, f"proxy to {key}")
    outcome = _weighted(action.weights, cells)
    if isinstance(outcome, Status):
        why = "no cell takes new traffic"
        return _apply(rule.policies.on_cell_down, rule, None, why, cells) or ("cell_down", why)
    return Decision(outcome, rule.id, None, "any cell that takes new traffic, by weight")


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
    if action.type is ClassifyType.SESSION_PREFIX:
        cell = cells.by_prefix.get(value)
    else:
        number = cell_id(value)
        cell = None if number is None else cells.by_id.get(number)
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


def _owned(chain: _Chain, owners: Sequence[int | None], cells: Cells) -> _Answer:
    for claim, owner in zip(chain.claims, owners, strict=True):
        cell = cells.by_id.get(owner) if owner is not None else None
        if cell is not None:
            key = f"{claim[0]}:{claim[1]}"
            why = f"{key} is claimed by {cell.name}"
            return _to_cell(chain.rule, key, cell, cells, why, claim)
    first = chain.claims[0]
    return _unknown(chain.rule, f"{first[0]}:{first[1]}", cells)


def _to_cell(
    rule: Rule,
    key: str,
    cell: Cell | None,
    cells: Cells,
    why: str,
    claim: ClaimKey | None = None,
) -> _Answer:
    if cell is None:
        return _unknown(rule, key, cells)
    outcome = cells.serving.get(cell.id)
    if outcome is not None:
        return Decision(outcome, rule.id, key, why, claim)
    reason = f"{why}, but {cell.name} is not serving"
    fallback = _apply(rule.policies.on_cell_down, rule, key, reason, cells, claim)
    return fallback or ("cell_down", reason)


def _unknown(rule: Rule, key: str, cells: Cells) -> _Answer:
    why = f"{key} is unknown"
    return _apply(rule.policies.on_unknown, rule, key, why, cells) or ("unknown", why)


def _apply(
    policy: Policy,
    rule: Rule,
    key: str | None,
    why: str,
    cells: Cells,
    claim: ClaimKey | None = None,
) -> Decision | None:
    """What a policy answers; None means: ask the next rule."""
    if isinstance(policy, Next):
        return None
    outcome = policy_outcome(policy, cells)
    return Decision(outcome, rule.id, key, why, claim)


def policy_outcome(policy: Policy, cells: Cells) -> Outcome:
    """The outcome of a policy other than Next: never a cell that is not serving."""
    if isinstance(policy, UseStatus):
        return Status(policy.code, RETRY_AFTER_S if policy.code in {429, 503} else None)
    if isinstance(policy, UseCell):
        cell = cells.by_name.get(policy.name)
        if cell is not None and cell.id in cells.serving:
            return cells.serving[cell.id]
        return Status(503, RETRY_AFTER_S)
    assert not isinstance(policy, Next)
    return _weighted(policy.weights, cells)


def _weighted(weights: tuple[tuple[str, int], ...] | None, cells: Cells) -> Outcome:
    """Cells by weight: the given ones that serve, or all that take new traffic; else 503."""
    if weights is None:
        choices = cells.weighted
    else:
        choices = tuple(
            (name, weight)
            for name, weight in weights
            if weight and (cell := cells.by_name.get(name)) is not None and cell.serving
        )
    return Weighted(choices) if choices else Status(503, RETRY_AFTER_S)
