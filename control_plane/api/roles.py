"""Who may do what: each operation says the scope that it needs, and its description shows it."""

from __future__ import annotations

import enum
from typing import Any

ROLE_KEY = "x-cellway-scope"
"""The member of an operation in the OpenAPI description that names the scope."""


class Scope(enum.StrEnum):
    """What a caller may do; each scope includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Whether a caller with this scope may do what needs the other."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


def needs(scope: Scope) -> dict[str, Any]:
    """``openapi_extra`` of an operation."""
    return {ROLE_KEY: str(scope)}


VIEWER = needs(Scope.VIEWER)
OPERATOR = needs(Scope.OPERATOR)
ADMIN = needs(Scope.ADMIN)
