"""An update: what a cell asks to create and destroy, checked and normalised.

Nothing here reads the database. A record that stands on both sides under one key is replaced::

    create_records: route:New, route:Acme      creates:  route:new
    destroy_records: route:acme, route:old     replaced: route:acme (spelled Acme)
                                               destroys: route:acme, route:old
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.names import MAX_IDEMPOTENCY_KEY_CHARS, MAX_RECORDS
from control_plane.topology.values import ClaimKey, Invalid, Problem, RecordSpec, normalise_spelled

MAX_BYTES = 10 * 1024 * 1024
RECORD_OVERHEAD_BYTES = 200
"""Bytes that each record counts for besides its own, as GitLab's clients reckon."""
MAX_SOURCE_ID_BYTES = 255

_SUBJECT_OF_ID: Mapping[str, int] = {
    "organization_id": 1,
    "namespace_id": 2,
    "project_id": 3,
    "user_id": 4,
}
_SOURCE_OF_ID: Mapping[str, int] = {
    "user_id": 1,
    "project_id": 4,
    "namespace_id": 5,
    "organization_id": 6,
    "snippet_id": 12,
}
_KNOWN_SOURCES = range(1, 15)


@dataclass(frozen=True, slots=True)
class Creation(RecordSpec):
    """A record to create, with its value normalised.

    ``spelling`` is the value as it was sent; None if that is the normalised one.
    """

    spelling: str | None = None

    def as_sent(self) -> RecordSpec:
        """Return the record as the cell sent it."""
        return RecordSpec(
            self.bucket,
            self.value if self.spelling is None else self.spelling,
            self.subject_type,
            self.subject_id,
            self.source_type,
            self.source_id,
            self.user_data,
        )


@dataclass(frozen=True, slots=True)
class Update:
    """A checked update; ``destroys`` has the keys of all claims that go, also of ``replaced``."""

    creates: tuple[Creation, ...]
    replaced: tuple[Creation, ...]
    destroys: tuple[ClaimKey, ...]

    def fingerprint(self) -> str:
        """Return a hash that tells a repetition from another update under the same key.

        The order of records does not matter; another spelling is another update.
        """
        lines = sorted(repr(spec.as_sent()) for spec in (*self.creates, *self.replaced))
        # Databases hold fingerprints of keys as plain pairs: they must go on meaning the same.
        lines += sorted(repr(tuple(key)) for key in self.destroys)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_update(creates: Sequence[RecordSpec], destroys: Sequence[RecordSpec]) -> Update:
    """Check and normalise an update.

    Raises:
        Invalid: too many or too large records, a malformed one, or one key twice on one side.
    """
    _check_size(creates, destroys)
    created = _by_key("create_records", creates)
    destroyed = _by_key("destroy_records", destroys)
    return Update(
        tuple(spec for key, spec in created.items() if key not in destroyed),
        tuple(spec for key, spec in created.items() if key in destroyed),
        tuple(destroyed),
    )


def check_key(key: str | None) -> None:
    """Raise `Invalid` if an idempotency key can't be stored."""
    if key is not None and not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARS and key.isprintable()):
        hint = f"1 to {MAX_IDEMPOTENCY_KEY_CHARS} printable characters"
        raise Invalid(Problem("idempotency-key", "malformed", hint))


def _check_size(creates: Sequence[RecordSpec], destroys: Sequence[RecordSpec]) -> None:
    count = len(creates) + len(destroys)
    if not 1 <= count <= MAX_RECORDS:
        hint = f"send 1 to {MAX_RECORDS}, creates and destroys together"
        raise Invalid(Problem("create_records", f"{count} records in one update", hint))
    size = sum(
        RECORD_OVERHEAD_BYTES + len(one.value) + len(one.source_id) + len(one.user_data)
        for one in (*creates, *destroys)
    )
    if size > MAX_BYTES:
        hint = f"keep an update under {MAX_BYTES} bytes, {RECORD_OVERHEAD_BYTES} counted a record"
        raise Invalid(Problem("create_records", f"{size} bytes in one update", hint))


def _by_key(side: str, specs: Sequence[RecordSpec]) -> dict[ClaimKey, Creation]:
    creations: dict[ClaimKey, Creation] = {}
    for at, spec in enumerate(specs):
        where = f"{side}[{at}]"
        value, spelling = _normalised(spec, where)
        key = ClaimKey(spec.bucket, value)
        if key in creations:
            raise Invalid(Problem(where, f"{key} stands twice", "keep one"))
        _check_numbers(spec, value, where)
        creations[key] = Creation(
            spec.bucket,
            value,
            spec.subject_type,
            spec.subject_id,
            spec.source_type,
            spec.source_id,
            spec.user_data,
            spelling,
        )
    return creations


def _normalised(spec: RecordSpec, where: str) -> tuple[str, str | None]:
    try:
        return normalise_spelled(spec.bucket, spec.value)
    except Invalid as error:
        problems = (Problem(f"{where}.{p.field}", p.message, p.hint) for p in error.problems)
        raise Invalid(*problems) from None


def _check_numbers(spec: RecordSpec, value: str, where: str) -> None:
    for field in ("subject_type", "source_type"):
        if not 0 <= getattr(spec, field) < 2**31:
            raise Invalid(Problem(f"{where}.{field}", "out of range", "a number of the enum"))
    if not 0 <= spec.subject_id < 2**63:
        raise Invalid(Problem(f"{where}.subject_id", "out of range", "0 to 2^63 - 1"))
    if len(spec.source_id) > MAX_SOURCE_ID_BYTES:
        hint = f"at most {MAX_SOURCE_ID_BYTES} bytes"
        raise Invalid(Problem(f"{where}.source_id", "too long", hint))
    _check_combination(spec, value, where)


def _check_combination(spec: RecordSpec, value: str, where: str) -> None:
    """Refuse a bucket that contradicts its source or subject.

    Numbers that are unknown here are taken, because newer clients may know them.
    """
    table = _SOURCE_OF_ID.get(spec.bucket)
    if table is not None and spec.source_type in _KNOWN_SOURCES and spec.source_type != table:
        message = f"a {spec.bucket} does not come from source type {spec.source_type}"
        raise Invalid(Problem(f"{where}.source_type", message, f"it comes from {table}"))
    kind = _SUBJECT_OF_ID.get(spec.bucket)
    if kind == spec.subject_type and spec.subject_id and str(spec.subject_id) != value:
        message = f"{spec.bucket} {value} has the subject {spec.subject_id} of the same kind"
        raise Invalid(Problem(f"{where}.subject_id", message, f"its own subject is {value}"))
