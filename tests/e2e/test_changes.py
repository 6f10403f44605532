"""A differential test of changes: the real Envoy runs what the control plane says that it runs.

Sequences that once failed come first, then those that hypothesis generates. After each change that
the control plane calls done, Envoy's own dump is compared with the compiled snapshot, and each
answer with the evaluator. CELLWAY_CHANGES=500 (examples), CELLWAY_LONG=1 or `make soak` ask for
more.
"""

from __future__ import annotations

import os

import pytest

from tests.e2e.change_operations import (
    HealthCheck,
    MoveClaim,
    Operation,
    Place,
    Put,
    Restart,
    Rules,
    SetFile,
    State,
    Swap,
    Tls,
)
from tests.e2e.change_rules import Form
from tests.e2e.change_world import Variant
from tests.e2e.change_worlds import VARIANTS, play_many

LONG = bool(os.environ.get("CELLWAY_LONG"))
EXAMPLES = int(os.environ.get("CELLWAY_CHANGES", "200" if LONG else "3"))


def rules(*forms: tuple[str, str]) -> Put:
    return Put((Rules(tuple((rule_id, Form(looks_at)) for rule_id, looks_at in forms)),))


MOVED = Place("cell-2", "dns", ("at-3",))
BACK = Place("cell-2", "ipv4", ("at-2",))
BAD = Tls("cell-6", "ca-1.pem")
GOOD = Tls("cell-6", "")
LACKS = SetFile("ca-1.pem", "missing")
BESIDE = Put((MOVED, State("cell-5", "active"), State("cell-6", "active"), BAD))

KNOWN: dict[str, list[Operation]] = {
    "beside a refused cell, and back": [
        LACKS,
        BESIDE,
        Put((BACK, State("cell-5", "retired"), GOOD)),
    ],
    "beside a refused cell, which is mended first": [
        LACKS,
        BESIDE,
        Put((GOOD,)),
        Put((BACK,)),
        Put((State("cell-5", "retired"),)),
    ],
    "beside a refused cell, which is mended last": [
        LACKS,
        BESIDE,
        Put((BACK,)),
        Put((State("cell-5", "retired"),)),
        Put((State("cell-6", "retired"),)),
    ],
    "a change of a cell is refused and taken back": [
        LACKS,
        Put((Tls("cell-1", "ca-1.pem"), Place("cell-3", "other ipv4", ("at-5",)))),
        Put((Tls("cell-1", ""),)),
    ],
    "refused for a passing reason": [
        SetFile("ca-1.pem", "no PEM"),
        Put((Tls("cell-3", "ca-1.pem"), State("cell-5", "active"))),
        SetFile("ca-1.pem", "good"),
    ],
    "Envoy starts with a refused cell": [
        LACKS,
        Put((State("cell-6", "active"), BAD)),
        Restart("Envoy"),
        Put((State("cell-5", "active"),)),
        MoveClaim("beta", "cell-5"),
        Put((GOOD,)),
    ],
    "the control plane starts with a refused cell": [
        LACKS,
        Put((Tls("cell-3", "ca-1.pem"), MOVED)),
        Restart("control plane"),
        Put((BACK, State("cell-5", "active"))),
        SetFile("ca-1.pem", "good"),
    ],
    "a rule looks at something else": [
        rules(("a", "path 2"), ("b", "home cookie")),
        rules(("a", "tenant header"), ("b", "home header")),
        rules(("a", "home header"), ("b", "tenant cookie")),
    ],
    "a rule that asks is renamed, added and taken away": [
        rules(("c", "path 1"), ("b", "home cookie")),
        rules(("c", "path 1"), ("a", "query"), ("b", "home cookie")),
        rules(("b", "home cookie")),
    ],
    "a rule that Envoy may refuse": [rules(("a", "wide header")), rules(("a", "path 1"))],
    "a checked endpoint goes to another cell": [
        Put((HealthCheck("cell-1", "/ok"), HealthCheck("cell-2", "/ok"))),
        Put((Place("cell-1", "ipv4", ("at-5",)),)),
        Put((Swap("cell-1", "cell-3"),)),
        Put((Place("cell-1", "dns", ("at-6",)), Place("cell-3", "dns", ("at-1",)))),
        Put((Place("cell-1", "ipv6", ("at-4",)), Place("cell-3", "ipv4", ("at-6",)))),
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(4000 if LONG else 600)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_envoy_runs_what_the_control_plane_calls_done(variant: Variant) -> None:
    # The agent relays what the control plane sends, which the other variants test.
    before = [] if variant.agent and not LONG else KNOWN.values()
    print(play_many(variant, examples=EXAMPLES, derandomize=not LONG, before=before))
