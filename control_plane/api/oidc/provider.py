"""Which issuer is believed, and what the claims of its tokens mean here."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.topology import Scope

MAX_NAME = 255
"""Characters of a caller's name and of a subject."""
_NAME_CHARACTERS = "@+:/|=~!*,"
"""What may stand in a name beside letters, digits and ``_.-``; all else is percent-encoded."""
_LISTS_IN_TEXT = frozenset({"scope", "scp"})
"""The claims whose text is a list with spaces in between (RFC 8693, section 4.2)."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID Connect issuer, as the operator has configured it."""

    issuer: str
    audiences: tuple[str, ...]
    """A token has to be for one of these."""
    jwks: str
    """The URL or the file of its key set."""
    scopes: Mapping[Scope, tuple[str, ...]]
    """The values of the claim that give each scope."""
    scope_claim: str = "groups"
    name_claim: str = "email"
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    clock_skew_s: float = 30

    def scope_of(self, claims: Mapping[str, Any]) -> Scope | None:
        """Return the highest scope that the claims give; None if they give none."""
        held = set(_texts(self.scope_claim, _claim(claims, self.scope_claim)))
        given = [scope for scope, values in self.scopes.items() if held.intersection(values)]
        return max(given, key=list(Scope).index, default=None)

    def name_of(self, claims: Mapping[str, Any]) -> str:
        """Return the caller's name for the audit, for example ``oidc:alice@example.com``.

        It is the subject if the claim is missing, or an e-mail address that is not verified.
        Characters that the audit's own notation uses are percent-encoded.
        """
        name = _claim(claims, self.name_claim)
        unverified = self.name_claim == "email" and claims.get("email_verified") is False
        if unverified or not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            name = claims["sub"]
        return f"oidc:{urllib.parse.quote(name, safe=_NAME_CHARACTERS, errors='replace')}"


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim: ``groups``, or one in another such as ``realm_access.roles``."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split(" ") if name in _LISTS_IN_TEXT else [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
