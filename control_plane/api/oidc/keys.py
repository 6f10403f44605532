"""Reads a JSON Web Key Set (RFC 7517): the public keys with which an issuer signs.

A key serves for the algorithms that its type and curve allow, and for one of them only if it names
it. So the algorithm in a token's header never chooses how a key is used: a public RSA key that is
taken for an HMAC secret finds no entry. Keys that are symmetric, not for signatures, or of a kind
that is not known here are left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

MAX_JWKS_BYTES = 1 << 20
MAX_KEYS = 100
"""How many keys of a set are read. Issuers have about two."""
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Mapping[tuple[str, str], str] = {
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS = frozenset({*_RSA, *_CURVES.values()})
"""What can be allowed. All are asymmetric: a verifier's key can sign nothing."""


class BadKeySet(ValueError):
    """A document that is no usable key set; the message says why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id and algorithm; the id is empty if the key has none."""

    by_id: Mapping[tuple[str, str], jwt.PyJWK]

    def has(self, key_id: str) -> bool:
        """Return whether a key has this id, for whatever algorithm."""
        return any(known == key_id for known, _ in self.by_id)

    def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key for a token; None if there is none, or if several could be meant.

        Args:
            key_id: The ``kid`` of the token's header; None if it has none.
            algorithm: Its ``alg``.
        """
        if key_id is not None:
            return self.by_id.get((key_id, algorithm))
        fitting = [key for (_, alg), key in self.by_id.items() if alg == algorithm]
        return fitting[0] if len(fitting) == 1 else None


def read_keys(document: bytes, allowed: Collection[str]) -> KeySet:
    """Return the keys of a document, for the algorithms that are allowed.

    Raises:
        BadKeySet: It is no key set, or has no key that could be used.
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadKeySet("it is no JSON") from error
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise BadKeySet("it has no list of 'keys'")
    by_id: dict[tuple[str, str], jwt.PyJWK] = {}
    for one in listed[:MAX_KEYS]:
        if not isinstance(one, dict):
            continue
        key_id = one.get("kid", "")
        for algorithm in _algorithms(one):
            key = _key(one, algorithm) if algorithm in allowed else None
            if key is not None and isinstance(key_id, str):
                by_id.setdefault((key_id, algorithm), key)
    if not by_id:
        raise BadKeySet(f"it has no public key for {', '.join(sorted(allowed))}")
    return KeySet(by_id)


def _algorithms(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the algorithms that a key can be used with."""
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not (
        isinstance(operations, list) and "verify" in operations
    ):
        return ()
    kind, curve = key.get("kty"), key.get("crv")
    fitting: tuple[str, ...]
    if kind == "RSA":
        fitting = _RSA
    elif isinstance(kind, str) and isinstance(curve, str) and (kind, curve) in _CURVES:
        fitting = (_CURVES[kind, curve],)
    else:
        return ()
    named = key.get("alg")
    return fitting if named is None else tuple(one for one in fitting if one == named)


def _key(key: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    try:
        public = {name: value for name, value in key.items() if name != "d"}
        return jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
