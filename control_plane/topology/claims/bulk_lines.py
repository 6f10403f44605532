"""One line of an import or export: a claim as a JSON object, parsed and written.

A line has ``bucket``, ``value`` and ``cell`` (a name), and may have ``subject``, ``source``,
``subject_type``, ``subject_id``, ``source_type``, ``source_id`` and ``user_data`` (the last two in
base64). The value is spelled as its cell spells it::

    {"bucket": "route", "value": "Acme", "cell": "cell-1", "subject_type": 2, "subject_id": 7}
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from control_plane.names import MAX_LINE_BYTES
from control_plane.topology.claims.texts import check_text
from control_plane.topology.claims.update import check_update
from control_plane.topology.values import (
    ClaimKey,
    Invalid,
    Problem,
    RecordSpec,
    normalise_spelled,
)

_NUMBERS = ("subject_type", "subject_id", "source_type")
_TEXTS = ("subject", "source")
_BYTES = ("source_id", "user_data")
_NEEDED = ("bucket", "value", "cell")
_FIELDS = frozenset({*_NEEDED, *_NUMBERS, *_TEXTS, *_BYTES})
_PLAIN = (None, None, None, 0, 0, 0, None, None)


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that was not imported, and why. Lines count from 1."""

    line: int
    reason: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types: a line of the file of rejects."""
        return {"line": self.line, "reason": self.reason, "text": self.text}


@dataclass(slots=True)
class Line:
    """A well-formed line.

    ``values`` are the columns spelling, subject, source, subject_type, subject_id, source_type,
    source_id and user_data; ``uuid`` is the one of the claim that the line would create.
    """

    number: int
    text: str
    key: ClaimKey
    cell: str
    values: tuple[Any, ...]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def rejected(self, why: str) -> Reject:
        """Return this line as a reject."""
        return Reject(self.number, why, self.text.rstrip("\n"))


def parse_lines(numbered: list[tuple[int, str]], rejects: list[Reject]) -> list[Line]:
    """Parse lines, which come with their numbers; append malformed ones to ``rejects``."""
    lines: list[Line] = []
    for number, text in numbered:
        if not text.strip():
            continue
        try:
            lines.append(parse_line(number, text))
        except Invalid as error:
            rejects.append(Reject(number, str(error), text[:MAX_LINE_BYTES].rstrip("\n")))
    return lines


def parse_line(number: int, text: str) -> Line:
    """Parse one line; raise `Invalid` if it is malformed."""
    if len(text) > MAX_LINE_BYTES:
        raise Invalid(Problem("line", "too long", f"at most {MAX_LINE_BYTES} characters"))
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise Invalid(Problem("line", f"no JSON: {error}", "one object a line")) from error
    if not isinstance(fields, dict):
        raise Invalid(Problem("line", "no JSON object", "one object a line"))
    if unknown := sorted(fields.keys() - _FIELDS):
        hint = f"use {', '.join(sorted(_FIELDS))}"
        raise Invalid(Problem("line", f"has unknown fields: {', '.join(unknown)}", hint))
    for name in _NEEDED:
        if not isinstance(fields.get(name), str):
            raise Invalid(Problem(name, "is missing or no text", "give it as text"))
    bucket = fields["bucket"]
    value, spelling = normalise_spelled(bucket, fields["value"])
    plain = spelling is None and len(fields) == len(_NEEDED)
    values = _PLAIN if plain else (spelling, *_attributes(bucket, value, fields))
    return Line(number, text, ClaimKey(bucket, value), fields["cell"], values)


def last_key(line: str) -> ClaimKey:
    """Return the key of an exported line, to resume after it; raise `Invalid` if it has none."""
    return parse_line(0, line).key


def write_line(row: Row[Any]) -> str:
    """Write the line of a row of ``claims`` with its cell's name."""
    value = row.value if row.spelling is None else row.spelling
    fields: dict[str, Any] = {"bucket": row.bucket, "value": value, "cell": row.cell}
    for name in (*_TEXTS, *_NUMBERS):
        if getattr(row, name):
            fields[name] = getattr(row, name)
    for name in _BYTES:
        if getattr(row, name):
            fields[name] = base64.b64encode(getattr(row, name)).decode()
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _attributes(bucket: str, value: str, fields: dict[str, Any]) -> tuple[Any, ...]:
    subject_type, subject_id, source_type = (_number(fields, name) for name in _NUMBERS)
    source_id, user_data = (_bytes(fields, name) for name in _BYTES)
    if subject_type or subject_id or source_type or source_id or user_data:
        sent = (subject_type, subject_id, source_type, source_id or b"", user_data or b"")
        check_update((RecordSpec(bucket, value, *sent),), ())
    texts = (_text(fields, name) for name in _TEXTS)
    return (*texts, subject_type, subject_id, source_type, source_id, user_data)


def _text(fields: dict[str, Any], name: str) -> str | None:
    text = fields.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise Invalid(Problem(name, "no text", "give it as text, or leave it out"))
    check_text(name, text)
    return text


def _number(fields: dict[str, Any], name: str) -> int:
    number = fields.get(name, 0)
    if type(number) is not int:
        raise Invalid(Problem(name, "no number", "a whole number"))
    return number


def _bytes(fields: dict[str, Any], name: str) -> bytes | None:
    encoded = fields.get(name)
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True) or None
    except (binascii.Error, TypeError, ValueError) as error:
        raise Invalid(Problem(name, f"no base64: {error}", "encode the bytes")) from error
