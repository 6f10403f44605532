"""An OpenID Connect issuer: it signs tokens, and serves its keys over HTTP on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from control_plane.api.oidc.provider import Provider
from control_plane.topology import Scope

ISSUER, AUDIENCE = "https://issuer.example", "cellway"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
SCOPES = {Scope.ADMIN: ("admins",), Scope.OPERATOR: ("sre", "release"), Scope.VIEWER: ("eng",)}


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """A public key as a JSON Web Key."""
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((made for of, made in kind.items() if isinstance(key, of)), OKPAlgorithm)
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "use": "sig", **members} if "use" not in members else {**made, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


KEYS = jwks(jwk(RSA_KEY, kid="r"), jwk(EC_KEY, kid="e"), jwk(ED_KEY, kid="d"))


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token; those that are None are left out."""
    now = int(time.time())
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "exp": now + 300,
        "iat": now,
        "email": "alice@example.com",
        "groups": ["sre"],
        **more,
    }
    return {name: value for name, value in made.items() if value is not None}


def token(
    *,
    key: Any = RSA_KEY,
    algorithm: str = "RS256",
    kid: str | None = "r",
    headers: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    """A signed token with the claims of `claims`."""
    header = ({} if kid is None else {"kid": kid}) | (headers or {})
    return jwt.encode(claims(**more), key, algorithm, header)


def raw_token(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token with any header and signature."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return pem


def provider(where: str, **more: Any) -> Provider:
    return Provider(ISSUER, (AUDIENCE,), where, SCOPES, **more)


class Counts:
    """Counts as the metrics do."""

    def __init__(self) -> None:
        self.fetches: list[str] = []
        self.tokens: list[str] = []

    def fetched(self, outcome: str) -> None:
        self.fetches.append(outcome)

    def judged(self, outcome: str) -> None:
        self.tokens.append(outcome)


class KeyServer:
    """Serves a key set; ``status`` and ``document`` may change, and ``hold`` keeps answers back."""

    def __init__(self, document: bytes = KEYS) -> None:
        self.document = document
        self.status = "200 OK"
        self.more_headers = ""
        self.requests = 0
        self.hold: asyncio.Event | None = None
        self.url = ""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            if self.hold is not None:
                await self.hold.wait()
            head = f"HTTP/1.1 {self.status}\r\ncontent-length: {len(self.document)}\r\n"
            writer.write(f"{head}{self.more_headers}connection: close\r\n\r\n".encode())
            writer.write(self.document)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def key_server(document: bytes = KEYS) -> AsyncIterator[KeyServer]:
    serving = KeyServer(document)
    server = await asyncio.start_server(serving._answer, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    try:
        yield serving
    finally:
        server.close()
        if serving.hold is not None:
            serving.hold.set()
        await server.wait_closed()
