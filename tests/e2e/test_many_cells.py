"""Hundreds of cells behind the real Envoy: each session reaches its cell, in any spelling."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from control_plane.routing.model import Decision
from tests.e2e.echo_upstream import Arrived, EchoUpstream
from tests.support.raw_http import exchange, request_bytes
from tests.support.system import System

HOST = b"example.com"
CELLS = 320
"""Three digits: enough for each kind of test in `compiler.key_tree`."""
WRITINGS = (
    "_gitlab_session=cell-{}-5f2b",
    "a=cell-9-; _gitlab_session=cell-{}-",
    "_gitlab_session_0a1b=cell-{}-5f2b; b=_gitlab=cell-8-",
    "\t_gitlab_session = cell-{}-5f2b",
    "force-cell=cell-{}",
    "_gitlab_session=cell-9-a; force-cell=cell-{}; c=d",
)


HEADER_RULE = {
    "id": "header",
    "match": {"type": "header", "name": "^x-cell$", "regexValue": "^(?<prefix>cell-[0-9]+)-"},
    "action": "classify",
    "classify": {"type": "SESSION_PREFIX", "value": "${prefix}"},
    "on_unknown": 404,
}
BY_HEADER = {"name": "header", "rules": [HEADER_RULE]}


@pytest.mark.slow
def test_each_session_reaches_its_cell(tmp_path: Path) -> None:
    choose = random.Random(7)
    with EchoUpstream() as upstream, System(tmp_path, cells=0) as system:
        for number in range(1, CELLS + 1):
            system.add_cell(f"cell-{number}", upstream.port)
        system.use_ruleset("session_prefix")
        for writing in WRITINGS:
            for number in (1, CELLS, *choose.sample(range(1, CELLS + 1), 40)):
                check(system, number, ("cookie", writing.format(number).encode()))
        system.use_ruleset(BY_HEADER)
        for number in (1, CELLS, *choose.sample(range(1, CELLS + 1), 40)):
            check(system, number, ("x-cell", f" cell-{number}-cell-1-".encode()))


def check(system: System, number: int, header: tuple[str, bytes]) -> None:
    """Check that the request reaches this cell, and that Envoy alone decided it."""
    request = request_bytes(b"/x", [header], host=HOST)
    answer = exchange(("127.0.0.1", system.edge_port), request)
    assert answer is not None
    assert answer.status == 200
    decision = system.expected("GET", b"/x", HOST, [header])
    assert isinstance(decision, Decision)
    assert decision.cell == f"cell-{number}"
    arrived = Arrived.parse(answer.body).headers
    assert ("x-cellway-cell", f"cell-{number}".encode()) in arrived, header
    assert ("x-cellway-tier", b"classifier") not in arrived, header
