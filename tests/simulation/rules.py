"""Small rulesets for the tests of simulations."""

from __future__ import annotations

import json
from typing import Any

from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.simulation.logs.aspects import Aspects

TENANT_HEADER = {"type": "header", "name": "^x-tenant$", "regexValue": "(?<t>.+)"}
AGENT = {"type": "header", "name": "^user-agent$", "regexValue": "."}
REFERER = {"type": "header", "name": "^referer$", "regexValue": "."}
PATH = {"type": "path", "regexValue": "^/(?<p>[^/]+)"}


def ruleset(*rules: dict[str, Any]) -> Ruleset:
    """Return a ruleset of these rules, which are numbered."""
    numbered = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    return parse(json.dumps({"rules": numbered}))


def claim(match: dict[str, Any], value: str, **more: Any) -> dict[str, Any]:
    """Return a rule that looks up the owner of a route."""
    return {
        "match": match,
        "action": "classify",
        "classify": {"claims": [{"route": value}]},
        **more,
    }


def aspects_of(*matches: dict[str, Any]) -> Aspects:
    """Return what rules with these matches look at."""
    anywhere = {"action": "proxy", "proxy": {"weighted": True}}
    return Aspects([ruleset(*({"match": one, **anywhere} for one in matches or (PATH,)))])
