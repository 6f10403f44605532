"""Which keys of a set serve, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.api.oidc.keys import ALGORITHMS, MAX_KEYS, BadKeySet, read_keys
from tests.api.oidc.issuer import EC_KEY, ED_KEY, KEYS, RSA_KEY, jwk, jwks

SECRET = {"kty": "oct", "k": "AAAA", "kid": "s"}


def test_a_key_serves_for_what_its_type_and_curve_allow() -> None:
    keys = read_keys(KEYS, ALGORITHMS)
    assert {pair for pair in keys.by_id if pair[0] != "r"} == {("e", "ES256"), ("d", "EdDSA")}
    assert {alg[:2] for kid, alg in keys.by_id if kid == "r"} == {"RS", "PS"}
    assert keys.has("r")
    assert not keys.has("")


def test_a_key_that_names_its_algorithm_serves_for_no_other() -> None:
    keys = read_keys(jwks(jwk(RSA_KEY, kid="r", alg="PS256")), ALGORITHMS)
    assert list(keys.by_id) == [("r", "PS256")]


def test_only_what_is_allowed_is_kept() -> None:
    assert {alg for _, alg in read_keys(KEYS, {"ES256"}).by_id} == {"ES256"}


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        SECRET | {"alg": "RS256"},
        jwk(RSA_KEY, use="enc"),
        jwk(RSA_KEY, key_ops=["sign"]),
        jwk(RSA_KEY, key_ops="verify"),
        jwk(RSA_KEY, alg="HS256"),
        jwk(RSA_KEY, alg="none"),
        jwk(RSA_KEY, n=7),
        jwk(RSA_KEY, kid=7),
        jwk(EC_KEY, crv="P-384"),
        jwk(EC_KEY, x="AAAA"),
        jwk(ec.generate_private_key(ec.SECP256K1())),
        {"kty": ["RSA"]},
        {},
        "RSA",
        None,
    ],
)
def test_other_keys_are_left_out(key: Any) -> None:
    with pytest.raises(BadKeySet, match="no public key"):
        read_keys(json.dumps({"keys": [key]}).encode(), ALGORITHMS)
    good = read_keys(json.dumps({"keys": [key, jwk(ED_KEY, kid="d")]}).encode(), ALGORITHMS)
    assert list(good.by_id) == [("d", "EdDSA")]


@pytest.mark.parametrize(
    "document", [b"", b"\xff", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"[" * 100_000]
)
def test_what_is_no_key_set(document: bytes) -> None:
    with pytest.raises(BadKeySet):
        read_keys(document, ALGORITHMS)


def test_a_token_without_a_key_id_needs_a_set_with_one_key_for_it() -> None:
    two = read_keys(jwks(jwk(RSA_KEY, kid="a"), jwk(RSA_KEY, kid="b")), ALGORITHMS)
    assert two.key(None, "RS256") is None
    assert two.key("a", "RS256") is two.by_id["a", "RS256"]
    assert two.key("c", "RS256") is None
    one = read_keys(jwks(jwk(RSA_KEY), jwk(EC_KEY)), ALGORITHMS)
    assert one.key(None, "RS256") is one.by_id["", "RS256"]
    assert one.key("", "ES256") is one.by_id["", "ES256"]


def test_a_set_is_read_up_to_its_limit() -> None:
    many = jwks(*(jwk(ED_KEY, kid=str(number)) for number in range(MAX_KEYS + 5)))
    assert len(read_keys(many, ALGORITHMS).by_id) == MAX_KEYS
