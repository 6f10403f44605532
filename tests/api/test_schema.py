"""The API against its own description: schemathesis, in this process, always the same cases."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Config, GenerationMode

from control_plane.api.app import create_app
from control_plane.topology import Scope, Topology
from control_plane.topology.values.cell import CellSpec, CellState, SequenceRange
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.drain import DrainSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.move import MovePlan
from control_plane.xds.fleet.fleet import Fleet

EXAMPLES = {GenerationMode.POSITIVE: 22, GenerationMode.NEGATIVE: 8}
RULESET = (
    '{"name": "r", "rules": [{"id": "all", "action": "classify",'
    ' "classify": {"type": "FIRST_CELL"}}]}'
)
NOBODY_TO_WAIT_FOR = 502
CONFIG = {
    "checks": {
        # What a schema can't say (two names that must differ, an ETag that must be the newest) is
        # refused although the schema allows it.
        "positive_data_acceptance": {"enabled": False},
        # A write that is to wait for the fleet says that no server with Envoys is known here.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", NOBODY_TO_WAIT_FOR]},
        "negative_data_rejection": {
            "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 428]
        },
    }
}


@schemathesis.serializer("application/x-ndjson")
def ndjson(_: Any, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


class Api:
    """The app in this process, its schema, and which operations have answered with what."""

    def __init__(self, topology: Topology) -> None:
        async def metrics() -> bytes:
            return b"# none\n"

        app = create_app(topology, Fleet(), metrics=metrics, alarm=lambda: None)
        config = Config.from_dict(CONFIG)
        self.schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
        self.operations = [result.ok() for result in self.schema.get_all_operations()]
        self.answered: dict[str, set[int]] = defaultdict(set)
        self._keys = count()

    def attack(self, operation: Any, mode: GenerationMode) -> None:
        """Send cases of one operation, and hold each answer against the schema."""

        @given(
            case=operation.as_strategy(generation_mode=mode),
            known=st.booleans() if mode is GenerationMode.POSITIVE else st.just(value=False),
        )
        @settings(
            max_examples=EXAMPLES[mode],
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        def send(case: Any, known: bool) -> None:
            headers = case.headers if case.headers is not None else {}
            # A stream of events never ends.
            headers.pop("accept", None)
            if "idempotency-key" in headers and mode is GenerationMode.POSITIVE:
                headers["idempotency-key"] = f"{next(self._keys)}"
            if known:
                _make_known(operation.label, case, headers)
            response = case.call()
            case.validate_response(response)
            self.answered[operation.label].add(response.status_code)

        try:
            send()
        except Unsatisfiable:
            # There is no wrong way to call an operation without parameters.
            assert mode is GenerationMode.NEGATIVE


def _cell(case: Any) -> None:
    case.body |= {"address": "cell.example", "endpoints": ["cell.example:443"]}


def _this_cell(case: Any) -> None:
    kept = {key: case.body[key] for key in ("weight", "labels") if key in case.body}
    case.body = {"name": "cell-1", "state": "active"} | kept
    case.body |= {"address": "cell-1.example", "endpoints": ["10.0.0.1:1"]}
    case.body |= {"sequence_ranges": [{"minval": 1, "maxval": 10}]}


def _claims(case: Any) -> None:
    for claim in case.body["claims"]:
        value = "".join(filter(str.isprintable, claim["value"]))
        claim |= {"bucket": "route", "value": f"{value}x", "cell": "cell-1"}


def _release(case: Any) -> None:
    case.body = {"claims": [{"bucket": "route", "value": "held"}]}
    case.query = {"dry_run": True}


def _retired(case: Any) -> None:
    case.path_parameters["name"] = "retired"
    case.query = {"dry_run": True}
    if isinstance(case.body, dict):
        case.body = {"reason": "test"}


def _dry(body: Any) -> Callable[[Any], None]:
    """What would be carried out after the answer, or only once, is only told."""

    def change(case: Any) -> None:
        case.body = body
        case.query = {"dry_run": True}

    return change


_MOVE = {"subject": {"text": "s"}, "source": "cell-1", "target": "cell-2", "reason": "test"}
_DRAIN = {
    "cell": "cell-2", "target_share": 50, "step": 10, "interval_s": 60, "reason": "test",
    "expires_in_s": 3600,
}  # fmt: skip
_SETTLE = {"outcome": "commit", "reason": "test"}
_KNOWN: dict[str, Callable[[Any], None]] = {
    "POST /v1/cells": _cell,
    "PUT /v1/cells/{name}": _this_cell,
    "PATCH /v1/cells/{name}": lambda case: setattr(case, "body", {"weight": 5}),
    "DELETE /v1/cells/{name}": _retired,
    "POST /v1/claims": _claims,
    "POST /v1/claims/release": _release,
    "DELETE /v1/tokens/{token}": lambda case: setattr(case, "query", {"dry_run": True}),
    "PUT /v1/topology": _dry({"cells": [{"name": "cell-1", "weight": 9}]}),
    "POST /v1/claims/transfer": _dry(_MOVE),
    "POST /v1/claims/subject": _dry(
        {"claims": [{"bucket": "route", "value": "held"}], "subject": "s"}
    ),
    "POST /v1/moves": _dry(_MOVE),
    "POST /v1/moves/{move}/verified": _dry({"back": True}),
    "POST /v1/moves/{move}/reports": _dry({"reporter": "cell-1", "in_flight": 0}),
    "POST /v1/moves/{move}/{step}": _dry({}),
    "POST /v1/cells/{name}/release-claims": _retired,
    "POST /v1/drains": _dry(_DRAIN),
    "POST /v1/leases/settle": _dry({"cell": "cell-1", **_SETTLE}),
    "POST /v1/leases/{lease}/settle": _dry(_SETTLE),
    "POST /v1/sequences/confirm": lambda case: setattr(case, "query", {"dry_run": True}),
    "POST /v1/cells/{name}/sequences": lambda case: setattr(case, "body", {"size": 10}),
    "POST /v1/cells/{name}/sequences/report": _dry({"last": 5}),
    "PUT /v1/rulesets/{name}": lambda case: setattr(case, "body", json.loads(RULESET)),
    "POST /v1/rulesets/{name}/activate": lambda case: setattr(case, "body", {"version": 1}),
}


KNOWN_NAMES: dict[str, Any] = {
    "bucket": "route",
    "value": "held",
    "move": 1,
    "step": "preflight",
}


def _make_known(label: str, case: Any, headers: dict[str, Any]) -> None:
    """Name what exists and say what can work: strangers' names alone never get past 404."""
    known = KNOWN_NAMES | {"name": "r" if "rulesets" in label else "cell-1"}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = known[name]
    if "{name}" in label and not label.startswith(("GET", "POST")):
        headers["if-match"] = "*"
        case.headers = headers
    if isinstance(case.body, dict) or label.startswith("DELETE") or "confirm" in label:
        _KNOWN.get(label, lambda _: None)(case)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    topology = Topology.open(f"sqlite:///{tmp_path_factory.mktemp('schema')}/s.db")
    for name, state in (("cell-1", CellState.ACTIVE), ("retired", CellState.RETIRED)):
        endpoints = (Endpoint("10.0.0.1", 1),)
        spec = CellSpec(name, f"{name}.example", endpoints, state=CellState.ACTIVE)
        made = topology.cells.create(spec, actor="test").value
        if state is CellState.RETIRED:
            for step in (CellState.DRAINING, CellState.DRAINED, CellState.RETIRED):
                spec = CellSpec(name, made.address, endpoints, state=step)
                topology.cells.replace(name, spec, actor="test", force=True, reason="test")
    topology.cells.create(
        replace(spec, name="cell-2", address="c2", state=CellState.ACTIVE), actor="t"
    )
    topology.claims.claim([ClaimSpec("route", "held", "cell-1", subject="s")], actor="test")
    span = (SequenceRange(1, 10),)
    topology.cells.replace(
        "cell-1", replace(topology.cells.get("cell-1").spec(), sequence_ranges=span), actor="t"
    )
    lease = topology.leases.begin(1, [RecordSpec("route", "open")], [], actor="test").value
    operation = topology.operations.start("test", "test", 1, actor="test")
    topology.claims.claim([ClaimSpec("route", "moving", "cell-1")], actor="test")
    plan = MovePlan("cell-1", "cell-2", "test", {"claims": [["route", "moving"]]})
    topology.tenant_moves.plan(plan, actor="test")
    topology.tokens.create("kept", Scope.VIEWER, actor="test")
    drained = DrainSpec("cell-1", 50, 10, 60, "test", 3600)
    drain = topology.drains.start(drained, actor="test").value
    KNOWN_NAMES.update(lease=lease.uuid, operation=operation.id, token="kept", drain=drain.id)
    topology.rulesets.put("r", RULESET, actor="test")
    topology.rulesets.activate("r", 1, actor="test")
    yield Api(topology)
    topology.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_described(api: Api, mode: GenerationMode) -> None:
    for operation in api.operations:
        api.attack(operation, mode)
    if mode is GenerationMode.POSITIVE:
        for operation in api.operations:
            statuses = api.answered[operation.label]
            assert any(status < 300 for status in statuses), (operation.label, statuses)
    seen = {status for statuses in api.answered.values() for status in statuses}
    assert {status for status in seen if status >= 500} <= {NOBODY_TO_WAIT_FOR}
