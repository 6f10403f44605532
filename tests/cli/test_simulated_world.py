"""What a simulation decides by, and what a server must have for it."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.cli import simulated_world
from control_plane.cli.client import Client, Failure
from tests.cli.canned_api import CannedApi

CELL = {"id": 1, "name": "c1", "address": "c1.example", "state": "active"}
RULES = {"rules": [{"id": "r", "match": {"type": "path", "regexValue": "^/"}, "action": "proxy",
                    "proxy": {"cell": "c1"}}]}  # fmt: skip
ACTIVE = {"name": "r", "active": True, "document": RULES}


def canned(**answers: Any) -> CannedApi:
    told = {"/v1/rulesets/active": ACTIVE, "/v1/cells": {"items": [CELL], "next": None}}
    told |= {f"/v1/{name.replace('_', '/')}": answer for name, answer in answers.items()}
    return CannedApi({path: (200, answer) for path, answer in told.items()})


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"rulesets_active": {"active": False}}, "no ruleset is active at the server"),
        ({"rulesets_active": ACTIVE | {"document": {"rules": []}}}, "ruleset r can't work"),
        ({"cells": {"items": [{"name": "c1"}], "next": None}}, "the server's cells: cell 'c1'"),
    ],
)
def test_a_server_without_what_is_needed_is_told(answers: dict[str, Any], why: str) -> None:
    with canned(**answers).running() as api, pytest.raises(Failure, match=why):
        simulated_world.of_server(Client(api.url, None))


def test_owners_are_noted_with_the_revisions_at_which_they_were_asked_for() -> None:
    answer = {"revision": 7, "owners": [1, None]}
    with canned(claims_owners=answer).running() as api:
        known = simulated_world.of_server(Client(api.url, None))
        assert known.revisions() == {"revision": None, "last_revision": None}
        assert known.owners([("route", "a"), ("route", "b")]) == [1, None]
        assert known.revisions() == {"revision": 7, "last_revision": 7}
        with pytest.raises(Failure, match="told 2 owners of 1 claims"):
            known.owners([("route", "a")])
