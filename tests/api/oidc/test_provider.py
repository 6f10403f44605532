"""Names and scopes that claims give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology import Scope
from tests.api.oidc.issuer import claims, provider

PROVIDER = provider("/jwks.json")


@pytest.mark.parametrize(
    ("claim", "value", "scope"),
    [
        ("groups", ["sre"], Scope.OPERATOR),
        ("groups", ["eng", "release"], Scope.OPERATOR),
        ("groups", ["x", "eng", "admins", "sre"], Scope.ADMIN),
        ("groups", "eng", Scope.VIEWER),
        ("groups", "eng admins", None),
        ("groups", ["ENG", "eng "], None),
        ("groups", [], None),
        ("groups", None, None),
        ("groups", [["eng"], {"eng": 1}, 7], None),
        ("groups", {"eng": True}, None),
        ("scope", "openid eng sre", Scope.OPERATOR),
        ("scp", ["eng"], Scope.VIEWER),
    ],
)
def test_the_highest_scope_that_a_claim_s_values_give(
    claim: str, value: Any, scope: Scope | None
) -> None:
    assert replace(PROVIDER, scope_claim=claim).scope_of({claim: value}) is scope


def test_a_claim_in_another() -> None:
    nested = replace(PROVIDER, scope_claim="realm_access.roles")
    assert nested.scope_of({"realm_access": {"roles": ["eng"]}}) is Scope.VIEWER
    assert nested.scope_of({"realm_access": "eng"}) is None
    assert nested.scope_of({"realm_access.roles": ["sre"]}) is Scope.OPERATOR
    url = replace(PROVIDER, scope_claim="https://x.example/roles")
    assert url.scope_of({"https://x.example/roles": ["eng"]}) is Scope.VIEWER


@pytest.mark.parametrize(
    ("given_claims", "name"),
    [
        (claims(), "oidc:alice@example.com"),
        (claims(email_verified=True), "oidc:alice@example.com"),
        (claims(email_verified=False), "oidc:user-1"),
        (claims(email=None), "oidc:user-1"),
        (claims(email=""), "oidc:user-1"),
        (claims(email=["root"]), "oidc:user-1"),
        (claims(email="a" * 256), "oidc:user-1"),
        (claims(email="Ann (root)@10.0.0.1"), "oidc:Ann%20%28root%29@10.0.0.1"),
        (claims(email="a\n\x1b[31m\u202eb"), "oidc:a%0A%1B%5B31m%E2%80%AEb"),
        (claims(email="\ud800"), "oidc:%3F"),
    ],
)
def test_a_caller_s_name_in_the_audit(given_claims: dict[str, Any], name: str) -> None:
    assert PROVIDER.name_of(given_claims) == name


@given(st.text(min_size=1))
def test_no_claim_can_forge_the_audit_s_notation(email: str) -> None:
    name = PROVIDER.name_of(claims(email=email))
    assert name.startswith("oidc:")
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set(" ()<>\"'`&")
