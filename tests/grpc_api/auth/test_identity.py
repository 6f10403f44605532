"""Callers that the names in certificates mean, without a server."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from control_plane.grpc_api.auth.identity import BadPattern, Caller, Identity, NamePatterns, Role
from control_plane.server.grpc_listener import security_of
from control_plane.settings import BadSetting, Settings

NAMES = NamePatterns({Role(role): name for role, name in Settings().grpc_names().items()})
CELL, ROUTER = Identity(Role.CELL, 3), Identity(Role.ROUTER)
ADMIN, NODE = Identity(Role.ADMIN), Identity(Role.NODE, 0, "edge", "n-1")


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("spiffe://cellway/cell/3", CELL),
        ("spiffe://cellway/router", ROUTER),
        ("spiffe://cellway/router/eu-1", ROUTER),
        ("spiffe://cellway/admin/ann", ADMIN),
        ("spiffe://cellway/node/edge/n-1", NODE),
        ("spiffe://cellway/cell/0", None),
        ("spiffe://cellway/cell/03", None),
        ("spiffe://cellway/cell/99999999999999999999", None),
        ("spiffe://cellway/cell/3/x", None),
        ("xspiffe://cellway/cell/3", None),
        ("spiffe://cellway/cell/3\n", None),
        ("spiffe://other/cell/3", None),
        ("spiffe://cellway/administrator", None),
        ("spiffe://cellway/node/edge", None),
        ("spiffe://cellway/node/edge/a/b", None),
        ("", None),
    ],
)
def test_whom_a_name_means(name: str, identity: Identity | None) -> None:
    assert NAMES.caller_of([name]) == (identity and Caller((identity,)))


def test_a_certificate_may_name_several_things() -> None:
    both = ["x.example", "spiffe://cellway/router", "spiffe://cellway/node/edge/n-1"]
    assert NAMES.caller_of(both) == Caller((ROUTER, NODE))
    assert str(NAMES.caller_of(both)) == "router+node/edge/n-1"


@pytest.mark.parametrize(
    ("role", "pattern", "text"),
    [
        (Role.CELL, "cell-([0-9]+)", "capture cell"),
        (Role.CELL, "(?P<cell>", "no RE2 regex"),
        (Role.NODE, "(?P<group>.*)", "capture group, node"),
        (Role.ADMIN, "(?P<cell>.*)", "capture nothing"),
    ],
)
def test_patterns_that_can_t_work_are_refused(role: Role, pattern: str, text: str) -> None:
    with pytest.raises(BadPattern, match=text):
        NamePatterns({role: pattern})
    with pytest.raises(BadSetting, match=text):
        security_of(Settings(**{f"grpc_{role}_name": pattern}))


def test_patterns_of_one_s_own() -> None:
    names = NamePatterns({Role.CELL: r"c(?P<cell>\d+)\.cells\.example"})
    assert names.caller_of(["c7.cells.example"]) == Caller((Identity(Role.CELL, 7),))


def test_where_grpc_listens() -> None:
    assert Settings(host="10.0.0.1").grpc_host == "127.0.0.1"
    assert Settings(host="::").grpc_host == "::1"
    assert Settings(host="::1").grpc_host == "::1"
    assert Settings(host="0.0.0.0", grpc_plaintext_beyond_loopback=True).grpc_host == "0.0.0.0"
    files = {f"grpc_tls_{name}": f"/tls/{name}" for name in ("certificate", "key", "client_ca")}
    assert Settings(host="0.0.0.0", **files).grpc_host == "0.0.0.0"
    with pytest.raises(ValidationError, match="belong together"):
        Settings(grpc_tls_key="/tls/key")
    with pytest.raises(ValidationError, match="plaintext"):
        Settings(classifier_protocol="grpc", **files)
