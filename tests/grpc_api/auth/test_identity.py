"""Callers that the names in certificates mean, without a server."""

from __future__ import annotations

import json

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
    assert NAMES.caller_of(name) == (identity and Caller((identity,)))


def test_a_name_may_have_several_roles_if_the_patterns_say_so() -> None:
    gateway = r"spiffe://cellway/gateway/(?P<group>\w+)/(?P<node>\w+)"
    patterns = {Role.ROUTER: (r"spiffe://cellway/gateway/.*",), Role.NODE: (gateway,)}
    caller = NamePatterns(patterns).caller_of("spiffe://cellway/gateway/edge/n1")
    assert caller == Caller((ROUTER, Identity(Role.NODE, 0, "edge", "n1")))
    assert str(caller) == "router+node/edge/n1"


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
        NamePatterns({role: (pattern,)})
    with pytest.raises(BadSetting, match=text):
        security_of(Settings(**{f"grpc_{role}_name": pattern}))


def test_patterns_of_one_s_own_by_trust_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "CELLWAY_GRPC_CELL_NAME",
        json.dumps([r"spiffe://eu/ns/(?P<cell>\d+)/sa/rails", r"spiffe://us/c/(?P<cell>\d+)"]),
    )
    monkeypatch.setenv("CELLWAY_GRPC_ROUTER_NAME", r"spiffe://eu/router[0-9]")
    given = Settings().grpc_names()
    names = NamePatterns({Role(role): patterns for role, patterns in given.items()})
    assert names.caller_of("spiffe://eu/ns/7/sa/rails") == Caller((Identity(Role.CELL, 7),))
    assert names.caller_of("spiffe://us/c/8") == Caller((Identity(Role.CELL, 8),))
    assert names.caller_of("spiffe://eu/c/8") is None
    assert names.caller_of("spiffe://eu/router1") == Caller((ROUTER,))


def test_where_grpc_listens() -> None:
    assert Settings(host="10.0.0.1").grpc_host == "127.0.0.1"
    assert Settings(host="::").grpc_host == "::1"
    assert Settings(host="::1").grpc_host == "::1"
    assert Settings(host="0.0.0.0", grpc_plaintext_beyond_loopback=True).grpc_host == "0.0.0.0"
    files = {f"grpc_tls_{name}": f"/tls/{name}" for name in ("certificate", "key", "client_ca")}
    assert Settings(host="0.0.0.0", **files).grpc_host == "0.0.0.0"
    with pytest.raises(ValidationError, match="belong together"):
        Settings(grpc_tls_key="/tls/key")
    two = {key: files[key] for key in ("grpc_tls_certificate", "grpc_tls_key")}
    bundles = {"eu.example": "/tls/eu.pem"}
    assert Settings(host="::", **two, grpc_trust_domains=bundles).grpc_host == "::"
    for wrong, text in (
        ({**two}, "grpc_tls_client_ca is missing"),
        ({"grpc_trust_domains": bundles}, "belong together"),
        ({**files, "grpc_trust_domains": bundles}, "give one of them"),
        ({**two, "grpc_trust_domains": {"EU/x": "/tls/eu.pem"}}, "no trust domain"),
    ):
        with pytest.raises(ValidationError, match=text):
            Settings(**wrong)
    with pytest.raises(ValidationError, match="plaintext"):
        Settings(classifier_protocol="grpc", **files)
