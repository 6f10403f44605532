"""Reads the JSON text of a ruleset, before anything in it is looked at."""

from __future__ import annotations

import json
from typing import Any

from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.routing.rules.problems import Problem, RulesetError

Document = str | bytes | dict[str, Any] | list[Any]
"""A ruleset as JSON text, or as what such a text was read to."""


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def load(document: Document) -> dict[str, Any]:
    """Return a ruleset as an object; a bare list of rules is an unnamed ruleset.

    Raises:
        RulesetError: the text is too large or no JSON, an object has a key twice, or the document
            is neither an object nor a list.
    """
    if isinstance(document, str | bytes):
        document = _read_json(document)
    if isinstance(document, list):
        return {"rules": document}
    if not isinstance(document, dict):
        raise _error("", "a ruleset is an object with rules", 'write {"rules": […]}')
    return document


def _read_json(text: str | bytes) -> Any:
    if len(text) > MAX_DOCUMENT_BYTES:
        hint = f"keep it under {MAX_DOCUMENT_BYTES} bytes"
        raise _error("", "the document is too large", hint)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except _DuplicateKey as error:
        message = f"the key {error.key!r} stands twice in one object"
        raise _error(error.key, message, "keep one") from error
    except (ValueError, RecursionError) as error:
        raise _error("", f"not JSON: {error}", "mend the JSON") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _DuplicateKey(key)
        members[key] = value
    return members


def _error(field: str, message: str, hint: str) -> RulesetError:
    return RulesetError((Problem(None, field, message, hint),))
