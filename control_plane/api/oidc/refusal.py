"""Why a JWT is not accepted, and what the client is told.

Before the signature is verified, nothing that the token says is true, and a stranger learns only
that the token is not valid. After that, the token is the issuer's: its holder may hear that it has
expired, or is for another audience.
"""

from __future__ import annotations

from fastapi.responses import JSONResponse

from control_plane.api.problem import problem

NOT_VALID = "the token is not valid"


class OidcRefusal(Exception):
    """A token that gives no access; the message is for the client."""

    outcome = "invalid"
    """How metrics count it."""

    def answer(self) -> JSONResponse:
        """Return a 401, with the error code of RFC 6750."""
        text = str(self)
        answer = problem(401, text, code="unauthenticated")
        answer.headers["www-authenticate"] = (
            f'Bearer error="invalid_token", error_description="{text}"'
        )
        return answer


class NoScope(OidcRefusal):
    """A valid token, to which no scope is mapped."""

    outcome = "no-scope"

    def __init__(self, name: str, claim: str) -> None:
        text = f"{name} has no access: no value of the token's claim {claim!r} gives a scope here"
        super().__init__(text)
        self._claim = claim

    def answer(self) -> JSONResponse:
        """Return a 403 that says which claim was read."""
        hint = "have the issuer put you into a group of CELLWAY_OIDC_SCOPES, then get a new token"
        return problem(403, str(self), code="no-scope", claim=self._claim, mend=hint)


class NoKeys(OidcRefusal):
    """The issuer's keys were never read, so that no token can be verified."""

    outcome = "no-keys"

    def __init__(self) -> None:
        super().__init__("the issuer's keys can't be read now; the server's log says why")

    def answer(self) -> JSONResponse:
        """Return a 503."""
        answer = problem(503, str(self), code="unavailable")
        answer.headers["retry-after"] = "10"
        return answer
