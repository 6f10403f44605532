"""The description says how callers identify themselves."""

from __future__ import annotations

import json

from control_plane.api.openapi import description


def test_a_bearer_token_is_optional_for_every_operation() -> None:
    document = json.loads(description())
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"] == [{}, {"bearer": []}]
    assert "schemas" in document["components"], "the rest of the description is still there"
