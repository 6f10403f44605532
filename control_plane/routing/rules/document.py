"""Reads the JSON text of a ruleset, before anything in it is looked at."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.routing.rules.limits import MAX_JSON_DEPTH
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
        RulesetError: the text is too large or no JSON, an object has a key twice, a number is not
            finite, a text can't be encoded, lists and objects stand too deep one within another, or
            the document is neither an object nor a list.
    """
    if isinstance(document, str | bytes):
        document = _read_json(document)
    _check_values(document)
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
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_number,
            parse_float=_finite,
        )
    except _DuplicateKey as error:
        message = f"the key {error.key!r} stands twice in one object"
        raise _error(error.key, message, "keep one") from error
    except (ValueError, RecursionError) as error:
        raise _error("", f"not JSON: {error}", "mend the JSON") from error


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    """Raise `ValueError` for what Python reads as a number, though JSON has no such number."""
    raise ValueError(f"{text[:40]} is no finite number")


def _check_values(document: Any) -> None:
    """Raise `RulesetError` if a value is not to be written as JSON, or stands too deep."""
    level = [document]
    for _ in range(MAX_JSON_DEPTH):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise _error("", "a number is not finite", "JSON has neither NaN nor Infinity")
        if any(isinstance(value, str) and not _is_text(value) for value in level):
            message = "a text has half of a surrogate pair (\\ud800 to \\udfff)"
            raise _error("", message, "write the character itself, or both halves")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return
        level = below
    message = f"lists and objects stand more than {MAX_JSON_DEPTH} deep"
    raise _error("", message, "write a flat ruleset")


def _is_text(text: str) -> bool:
    """Tell whether a text can be encoded; Python reads halves of surrogate pairs in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _DuplicateKey(key)
        members[key] = value
    return members


def _error(field: str, message: str, hint: str) -> RulesetError:
    return RulesetError((Problem(None, field, message, hint),))


def text_of(document: Any) -> str:
    """Return the text of a ruleset that was read from JSON.

    Raises:
        RulesetError: lists and objects stand too deep one within another, or a number is not
            finite, or a text can't be encoded.
    """
    _check_values(document)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def read_stored(text: str) -> Any:
    """Return what a stored text says, in values that can be written as JSON again; never fail.

    What is stored may be older than a check, or written by somebody else: an operator must still
    be able to look at it. Numbers that are not finite become texts. So does a document that is
    no JSON, or has texts that can't be encoded.
    """
    try:
        document = json.loads(text, parse_constant=str, parse_float=_finite_or_text)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text
    return document


def _finite_or_text(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text
