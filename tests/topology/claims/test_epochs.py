"""An answer at a revision is void exactly when an owner changed in one of its shards after it."""

from __future__ import annotations

import io
import itertools
import json
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from control_plane.topology import Subject, Topology
from control_plane.topology.claims import epochs
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.claim_key import ClaimKey
from control_plane.topology.values.errors import TopologyError

NAMES = ("a", "b", "c")
_runs = itertools.count(1)

Step = tuple[str, str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("claim", "release", "lease", "roll back", "destroy", "move", "import")),
        st.sampled_from(NAMES),
        st.sampled_from((1, 2)),
    ),
    max_size=12,
)


def do(topology: Topology, step: Step, name: str, run: int) -> None:
    """One step by one way of writing; what can't be done is left undone."""
    what, _, cell = step
    record = RecordSpec("route", name, 2, run)
    if what == "claim":
        topology.claims.claim(
            [ClaimSpec("route", name, f"cell-{cell}", subject=f"s{run}")], actor="t"
        )
    elif what == "release":
        topology.claims.release([("route", name)], actor="t")
    elif what in {"lease", "roll back"}:
        lease = topology.leases.begin(cell, [record], [], actor="t").value.uuid
        end = topology.leases.commit if what == "lease" else topology.leases.roll_back
        end(cell, lease, actor="t")
    elif what == "destroy":
        lease = topology.leases.begin(cell, [], [record], actor="t").value.uuid
        topology.leases.commit(cell, lease, actor="t")
    elif what == "import":
        line = json.dumps({"bucket": "route", "value": name, "cell": f"cell-{cell}"})
        topology.bulk.import_(
            io.StringIO(line + "\n"), actor="t", reject=lambda _: None, progress=lambda _: None
        )
    else:
        claim = topology.claims.get("route", name)
        subject = Subject(text=f"s{run}") if claim.subject else Subject(2, run)
        topology.moves.move(subject, claim.cell, f"cell-{cell}", reason="r", actor="t")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_epochs_tell_exactly_what_changed_its_owner(two: Topology, steps: list[Step]) -> None:
    run = next(_runs)
    names = {one: f"{one}{run}" for one in NAMES}
    keys = [("route", name) for name in names.values()]
    last: dict[str, int] = {}
    before = dict(two.snapshot().epochs)
    since = two.revision()
    changed: dict[int, int] = {}
    for step in steps:
        try:
            do(two, step, names[step[1]], run)
        except TopologyError:
            continue
        # "roll back" makes an owner for a moment: what was asked meanwhile may be kept.
        seen = dict(zip(names.values(), two.claims.owners_of(keys), strict=True))
        if step[0] == "roll back":
            seen[names[step[1]]] = step[2]
        revision = two.revision()
        for name, owner in seen.items():
            if owner is not None and last.setdefault(name, owner) != owner:
                last[name] = owner
                # A lease's second step comes a revision after its first.
                changed[ClaimKey("route", name).shard] = revision - (
                    step[0] in {"lease", "roll back"}
                )
    found = two.snapshot().epochs
    ours = {number: at for number, at in found.items() if at > since}
    assert ours == changed
    assert {n: at for n, at in found.items() if n not in ours} == {
        n: at for n, at in before.items() if n not in ours
    }


def test_a_name_freed_long_ago_is_forgotten(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "_PRUNE_EVERY", 1)

    def left() -> list[str]:
        with two.engine.connect() as connection:
            return sorted(connection.execute(text("SELECT value FROM tombstones")).scalars())

    two.claims.claim([ClaimSpec("route", name, "cell-1") for name in "xyz"], actor="t")
    two.claims.release([("route", "x"), ("route", "y")], actor="t")
    assert left() == ["x", "y"]
    monkeypatch.setattr(epochs, "TOMBSTONES_KEPT", timedelta(seconds=-5))
    two.claims.release([("route", "z")], actor="t")
    assert left() == []


def test_the_shard_is_the_agreed_one() -> None:
    assert ClaimKey("tenant", "acme").shard == 208
    assert ClaimKey("route", "straße").shard == 138
