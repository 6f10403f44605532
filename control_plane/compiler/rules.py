"""A ruleset with what is made of it once, whatever the cells."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.compiler.native.analyse import Analysed, analyse, needs_second_try
from control_plane.compiler.route_names import RouteNames, name_routes
from control_plane.routing.rules.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class Rules:
    """What routes are made from, beside cells and the traffic policy."""

    ruleset: Ruleset
    analysed: tuple[Analysed, ...]
    second_try: bool
    """Whether a dead classifier hands some request over to the next rule."""
    names: RouteNames


def prepare(ruleset: Ruleset) -> Rules:
    """Analyse a ruleset."""
    analysed = tuple(analyse(rule) for rule in ruleset.rules)
    second_try = needs_second_try(analysed)
    return Rules(ruleset, analysed, second_try, name_routes(ruleset, second_try=second_try))
