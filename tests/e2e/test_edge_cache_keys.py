"""What the real Envoy has cached for one request never answers another that a rule tells apart."""

from __future__ import annotations

from pathlib import Path

from tests.support.raw_client import RawClient
from tests.support.system import System

HOST = b"cells.example"


def test_an_alternative_with_another_beginning_is_looked_at(tmp_path: Path) -> None:
    """The second rule begins with ``/x``, or in its other alternative with ``/api``."""
    patterns = {
        "version": ("^/api/(?<k>[^/]+)(?:/|$)", "${k}"),
        "deep": ("^/x(?:1)|^/api/[^/]+/(?<k>deep)/z", "${k}"),
        "any": ("^/api/", "everybody"),
    }
    rules = [
        {"id": name, "match": {"type": "path", "regexValue": pattern}, "action": "classify"}
        | {"classify": {"claims": [{"tenant": value}]}}
        for name, (pattern, value) in patterns.items()
    ]
    with System(tmp_path) as system, RawClient(system.edge_port) as client:
        system.add_cells()
        system.claim("cell-2", "tenant:deep")
        system.claim("cell-3", "tenant:everybody")
        system.use_ruleset({"name": "alternatives", "rules": rules})
        for target, cell in (
            (b"/api/v1/deep/z", "cell-2"),
            (b"/api/v1/deep/y", "cell-3"),
            (b"/api/v2/deep/y", "cell-3"),
            (b"/api/v2/deep/z", "cell-2"),
        ):
            assert client.ask(target, [], host=HOST)[1]["x-example-cell"] == cell, target
