"""Compares programs with the evaluator: whatever a program answers must be the evaluator's answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from control_plane.compiler.programs import Program, RulesetProgram
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, ClaimKey, Decision
from control_plane.routing.rules.ruleset import Classify, Ruleset
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim_key import NormalisedKeys, normalise
from tests.compiler.cells import cell
from tests.compiler.programs.module_host import ASK, OWNED, Decided, Key, LoadedProgram, Owners
from tests.compiler.programs.requests import NAMES, TEXT_NAMES, Fields, as_request

DOWN = 6


def some_cells() -> Cells:
    """Return cells 1 to 6, of which the last is down."""
    return Cells(
        cell(
            number,
            session_prefix=f"cell-{number}",
            state=CellState.DRAINED if number == DOWN else CellState.ACTIVE,
        )
        for number in range(1, DOWN + 1)
    )


def some_owners(ruleset: Ruleset, seed: int) -> dict[Key, tuple[int, int]]:
    """Return owners of most names of each bucket; of a few nobody is certain."""
    choose = random.Random(seed)
    owners: dict[Key, tuple[int, int]] = {}
    for rule in ruleset.rules:
        for bucket, _ in rule.action.claims if isinstance(rule.action, Classify) else ():
            for name in NAMES.get(bucket, TEXT_NAMES):
                kind = ASK if choose.random() < 0.05 else OWNED
                if choose.random() < 0.75:
                    owners[bucket, normalise(bucket, name)] = kind, choose.randint(1, DOWN)
    return owners


@dataclass(slots=True)
class Comparison:
    """A ruleset's program beside the evaluator."""

    ruleset: Ruleset
    cells: Cells
    owners: Mapping[Key, tuple[int, int]]
    program: Program = field(init=False)
    answered: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    _loaded: LoadedProgram = field(init=False)
    _owners: Owners = field(init=False)

    def __post_init__(self) -> None:
        self.program = RulesetProgram.of(self.ruleset).program(self.cells)
        self._loaded = LoadedProgram(self.program.code)
        self._owners = Owners(self.owners)

    def differences(self, requests: Sequence[Fields]) -> list[str]:
        """Return a text for each request that the program answers and the evaluator otherwise."""
        differences: list[str] = []
        for fields, said in zip(requests, self.said(requests), strict=True):
            if not said.answer:
                continue
            wanted = self.wanted(fields)
            answer = self.program.answers.get(said.answer)
            if answer is None or answer.outcome != wanted.outcome or answer.rule.id != wanted.rule:
                differences.append(f"{fields}: {said}, not {wanted}")
        return differences

    def said(self, requests: Sequence[Fields]) -> list[Decided]:
        """Return what the program says."""
        return self._loaded.decide(requests, self._owners)

    def decide_packed(self, requests: bytes, count: int) -> None:
        """Decide packed requests for nothing but the time that it takes."""
        self._loaded.decide_packed(requests, count, self._owners)

    def wanted(self, fields: Fields) -> Decision:
        """Return what the evaluator says."""
        return decide(self.ruleset, as_request(fields), self.cells, self._owners_of, trace=False)

    def _owners_of(self, claims: tuple[ClaimKey, ...]) -> Sequence[int | None]:
        keys = NormalisedKeys.of(claims)
        return keys.spread(
            [self.owners[key][1] if key in self.owners else None for key in keys.keys]
        )


def report(differences: Iterable[str]) -> None:
    """Fail if there are any."""
    every = list(differences)
    assert not every, f"{len(every)}:\n" + "\n".join(every[:10])
