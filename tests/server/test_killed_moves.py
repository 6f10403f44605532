"""The control plane is killed at each step of a move; the move then goes on, or back."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.plane_process import PlaneProcess

CELLS = {"cell-1": 1, "cell-2": 2}
STEPS = ("preflight", "freeze", "verified", "switch", "rollback")
KILLED_AT = STEPS if os.environ.get("CELLWAY_LONG") else ("freeze", "switch", "rollback")
NEXT = {"freeze": "frozen", "switch": "watching", "rollback": "rolled-back"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    directory: Path = tmp_path_factory.mktemp("killed")
    with PlaneProcess(directory, "--classifier-workers", "0") as running:
        for name in CELLS:
            body = {
                "name": name,
                "address": f"{name}.example",
                "endpoints": ["127.0.0.1:9"],
                "state": "active",
            }
            running.write("POST", "/v1/cells", body)
        claims = [
            {"bucket": "route", "value": f"{tenant}-{number}", "cell": "cell-1", "subject": tenant}
            for tenant in ("acme", "other")
            for number in range(200)
        ]
        running.write("POST", "/v1/claims", {"claims": claims})
        yield running


def killed_amid(plane: PlaneProcess, path: str, body: dict[str, Any], after_s: float) -> None:
    """Kill the control plane a moment after a request was sent, and start it again."""

    def send() -> None:
        with contextlib.suppress(httpx.HTTPError), httpx.Client(trust_env=False) as client:
            client.post(f"http://127.0.0.1:{plane.api_port}{path}", json=body, timeout=30)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(after_s)
    plane.kill()
    sender.join()
    plane.start()


def cells_of(plane: PlaneProcess, tenant: str) -> set[str]:
    told = plane.api.get(
        "/v1/claims", params={"prefix": f"{tenant}-", "bucket": "route", "limit": 1000}
    )
    items = told.json()["items"]
    assert len(items) == 200
    return {one["cell"] for one in items}


@pytest.mark.slow
def test_a_move_whose_control_plane_is_killed_at_each_step_goes_on_and_back(
    plane: PlaneProcess,
) -> None:
    choose = random.Random(7)
    body = {
        "source": "cell-1", "target": "cell-2", "reason": "r", "subject": {"text": "acme"},
    }  # fmt: skip
    number = plane.write("POST", "/v1/moves", body)["move"]["id"]
    for step in STEPS:
        path = f"/v1/moves/{number}/{step}"
        sent = {"back": True, "forth": True} if step == "verified" else {}
        before = plane.api.get(f"/v1/moves/{number}").json()
        if step in KILLED_AT:
            killed_amid(plane, path, sent, choose.uniform(0.0, 0.03))
        after = plane.api.get(f"/v1/moves/{number}").json()
        # It is before the step or after it, and all of its claims are with it.
        reached = {"freeze": "frozen", "switch": "switched", "rollback": "rolled-back"}
        assert after["state"] in {before["state"], reached.get(step, "preflight")}
        at_target = after["state"] in {"switched", "watching"}
        assert cells_of(plane, "acme") == {"cell-2" if at_target else "cell-1"}
        assert cells_of(plane, "other") == {"cell-1"}
        # The same again resumes it.
        resumed = plane.write("POST", f"{path}?wait=fleet&timeout=20s", sent)["move"]
        assert resumed["state"] == NEXT.get(
            step, after["state"] if step == "verified" else "preflight"
        )
    assert cells_of(plane, "acme") == {"cell-1"}
    certificate = plane.api.get(f"/v1/moves/{number}/certificate").json()
    steps = [event["step"] for event in certificate["timeline"]]
    assert [one for one in steps if one in {"frozen", "switched", "rolled-back"}] == [
        "frozen",
        "switched",
        "rolled-back",
    ]
