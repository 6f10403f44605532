"""Tokens: the secret is shown once, and lets in until it is revoked or expires."""

from __future__ import annotations

import json
from datetime import timedelta

from control_plane.topology import Scope, Topology

ME = "operator"


def test_tokens(two: Topology) -> None:
    made = two.tokens.create("a", Scope.OPERATOR, actor=ME, life=timedelta(hours=1)).value
    assert two.tokens.verify(made.secret) == made.token == two.tokens.all()[0]
    assert two.tokens.verify(made.secret[:-2] + "zz") is None
    assert two.tokens.verify("cw_nonsense") is None
    assert (
        two.tokens.create("b", Scope.ADMIN, actor=ME, dry_run=True).value.token
        not in two.tokens.all()
    )
    two.tokens.revoke("a", actor=ME)
    assert two.tokens.verify(made.secret) is None
    (created, revoked) = [c for c in two.changes.since(0) if c.kind == "token"]
    assert (created.action, revoked.action) == ("create", "revoke")
    assert made.secret[20:] not in json.dumps([created.as_dict(), revoked.as_dict()])
