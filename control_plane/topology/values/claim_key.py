"""Keys of claims, and the one spelling of each: claims are stored by it and looked up by it.

A claim's key is a bucket and a value in it. Clients spell a value in several ways, for example
``("route", "/GitLab-Org/")`` and ``("route", "gitlab-org")``. Each bucket has a rule that turns
every spelling into one, so that look-ups find what was claimed, and nobody claims a name twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

from control_plane.names import BUCKET
from control_plane.topology.values.addresses import domain_name, host_name, local_part
from control_plane.topology.values.errors import Invalid, Problem

MAX_VALUE_BYTES = 1024
MAX_SPELLING = 1024
"""Characters of a value as it was sent, as many as GitLab's service keeps."""
_MAX_SENT = 64 << 10
"""Characters that are looked at to find a value's normal form. It holds the interpreter's lock."""
SHARDS = 256
"""The parts of the claims' keyspace. Each has an epoch of its own (see `claims.epochs`)."""

MAX_ID = 2**63 - 1
"""The highest id. On the wire ids are int64: a larger one could be stored, and never be listed."""
_SHOWN = 200
"""Characters of a value that an error shows at most."""
_ROUNDS = 4
"""How often a rule is applied to its own result before the value counts as one without a form."""

type KeyPair = tuple[str, str]
"""A bucket and a value as a plain pair, in any spelling: what look-ups are asked for.

The pairs that `routing` yields are such pairs, and so is each `ClaimKey`.
"""


class ClaimKey(NamedTuple):
    """A bucket and a value in it, for example ``ClaimKey("route", "gitlab-org")``.

    A key equals, hashes and unpacks as the plain pair of its two parts does.
    """

    bucket: str
    value: str

    def __str__(self) -> str:
        """Return the key as messages and the change feed write it."""
        return f"{self.bucket}:{self.value}"

    @property
    def shard(self) -> int:
        """The shard of a normalised key, 0 to 255."""
        return _shard(self.bucket, self.value)


def _shard(bucket: str, value: str) -> int:
    return crc32(f"{bucket}:{value}".encode()) % SHARDS


_new = tuple.__new__
"""Makes a named tuple at a third of the cost of calling its class; for the hot path only."""


class NormalisedKeys(NamedTuple):
    """The keys of one question, each in the spelling under which it is stored.

    A key that can't be claimed, such as ``("user_id", "no number")``, belongs to nobody. It is left
    out, so that no database is asked about it.
    """

    keys: Sequence[ClaimKey]
    shards: Sequence[int]
    """The shard of each of ``keys``."""
    left_out: Sequence[int]
    """The places in the question of the keys that are left out, in ascending order."""

    @classmethod
    def of(cls, asked: Iterable[KeyPair]) -> NormalisedKeys:
        """Normalise the keys of a question."""
        keys: list[ClaimKey] = []
        shards: list[int] = []
        left_out: list[int] = []
        for bucket, value in asked:
            try:
                normal = normalise(bucket, value)
            except Invalid:
                left_out.append(len(keys) + len(left_out))
                continue
            keys.append(_new(ClaimKey, (bucket, normal)))
            shards.append(_shard(bucket, normal))
        return _new(cls, (keys, shards, left_out))

    def parameters(self) -> Sequence[str]:
        """Return bucket and value of each key in turn, as a statement takes them."""
        if len(self.keys) == 1:
            return self.keys[0]
        return [part for key in self.keys for part in key]

    def spread(self, owners: Sequence[int | None]) -> Sequence[int | None]:
        """Return an owner for each key of the question, given those of ``keys``."""
        if not self.left_out:
            return owners
        spread = list(owners)
        for place in self.left_out:
            spread.insert(place, None)
        return spread


def _folded(value: str) -> str:
    if value.isascii():
        # This gives the same at a tenth of the cost, and look-ups come through here.
        return value.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())


def _path(value: str) -> str:
    return _folded(value).strip("/")


def _name(value: str) -> str:
    return _folded(value).strip()


def _email(value: str) -> str:
    local, at, domain = value.strip().rpartition("@")
    if not at or not local.strip() or not domain.strip():
        raise ValueError("an e-mail address has a local part, @ and a domain")
    return f"{local_part(_name(local))}@{domain_name(domain)}"


def _number(value: str) -> str:
    text = value.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) == 0:
        raise ValueError("an id is a positive decimal number")
    number = int(text)
    if number > MAX_ID:
        raise ValueError(f"an id is at most {MAX_ID}")
    return str(number)


def _exact(value: str) -> str:
    return value


def _plain(value: str) -> str:
    return unicodedata.normalize("NFC", value).strip()


_RULES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "route": _path,
        "redirect_route": _path,
        "organization_path": _path,
        "username": _name,
        "email": _email,
        "service_desk_custom_email": _email,
        "host": host_name,
        "pages_domain": host_name,
        "pages_unique_domain": host_name,
        "project_id": _number,
        "namespace_id": _number,
        "user_id": _number,
        "organization_id": _number,
        "snippet_id": _number,
        "gpg_key": _exact,
        "ssh_key": _exact,
        "gpg_key_fingerprint": _exact,
        "ssh_key_fingerprint": _exact,
        "tenant": _name,
    }
)


class NormalForm(StrEnum):
    """A way to spell values; each bucket has one."""

    PATH = "path"
    NAME = "name"
    EMAIL = "email"
    HOST = "host"
    NUMBER = "number"
    EXACT = "exact"
    PLAIN = "plain"


_FORMS: Mapping[Callable[[str], str], NormalForm] = MappingProxyType(
    {
        _path: NormalForm.PATH,
        _name: NormalForm.NAME,
        _email: NormalForm.EMAIL,
        host_name: NormalForm.HOST,
        _number: NormalForm.NUMBER,
        _exact: NormalForm.EXACT,
        _plain: NormalForm.PLAIN,
    }
)


def normal_form(bucket: str) -> NormalForm:
    """Return the way in which a bucket spells its values, for readers in another language.

    `normalise` defines what each of them is; `envoy/module/normalise.c` repeats it for ASCII.
    """
    return _FORMS[_RULES.get(bucket, _plain)]


def normalise(bucket: str, value: str) -> str:
    """Return the one spelling of a value under which it is stored and looked up.

    Raises:
        Invalid: The bucket has no valid name, or the value is empty, too long or malformed.
    """
    rule = _RULES.get(bucket)
    if rule is None:
        if not BUCKET.match(bucket):
            hint = "1 to 64 of a-z, 0-9 and _"
            raise Invalid(Problem("bucket", f"{bucket!r} is no bucket", hint))
        rule = _plain
    if len(value) > _MAX_SENT:
        hint = f"at most {MAX_SPELLING} characters"
        raise Invalid(Problem("value", f"{len(value)} characters", hint))
    if not value.isprintable():
        # Before any blank is taken off the ends: some control characters count as blanks.
        _check_characters(value, only_nul=rule is _exact)
    try:
        result = rule(value)
        if not value.isascii():
            result = _settled(rule, result)
        size = len(result) if result.isascii() else len(result.encode())
    except (ValueError, UnicodeError) as error:
        raise Invalid(Problem("value", f"{value[:_SHOWN]!r}: {error}", _hint(bucket))) from error
    if not 1 <= size <= MAX_VALUE_BYTES:
        hint = f"1 to {MAX_VALUE_BYTES} bytes"
        raise Invalid(Problem("value", f"{size} bytes after normalisation", hint))
    return result


def _hint(bucket: str) -> str:
    rule = _RULES.get(bucket)
    if rule is _email:
        return "give an address such as ann@example.com"
    return "give a host such as www.example.com" if rule is host_name else f"give a {bucket}"


def _settled(rule: Callable[[str], str], result: str) -> str:
    """Apply a rule to its own result until that stays the same.

    A key must be its own normal form, or a second cell could claim it. One application is enough
    for ASCII, and the tests know no other text that needs two: this makes sure of the rest.

    Raises:
        ValueError: The result goes on changing.
    """
    for _ in range(_ROUNDS):
        once_more = rule(result)
        if once_more == result:
            return result
        result = once_more
    raise ValueError("it has no single normal form")


def _check_characters(value: str, *, only_nul: bool) -> None:
    """Raise `Invalid` for a control character, or if ``only_nul``, only for NUL.

    PostgreSQL can't store NUL in text. The other control characters are refused because the edge
    doesn't decode them in a path, so no request could find the claim.
    """
    for char in value:
        if char == "\x00":
            why = f"{value[:_SHOWN]!r} holds a NUL character"
            raise Invalid(Problem("value", why, "leave it out"))
        if not only_nul and unicodedata.category(char) == "Cc":
            why = f"{value[:_SHOWN]!r} holds the control character U+{ord(char):04X}"
            raise Invalid(Problem("value", why, "leave it out"))


def normalised_or_none(bucket: str, value: str) -> str | None:
    """Return the normalised value; None for one that can't be claimed, and so belongs to nobody."""
    try:
        return normalise(bucket, value)
    except Invalid:
        return None


def is_storable(text: str) -> bool:
    """Tell whether every database can store a text.

    PostgreSQL stores no NUL in text, and no database stores half of a surrogate pair.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return "\x00" not in text


def normalise_spelled(bucket: str, value: str) -> tuple[str, str | None]:
    """Return a value to be claimed, normalised, and as it was sent (None if that is the same).

    Raises:
        Invalid: As `normalise` raises it, or the value is too long as it was sent.
    """
    normal = normalise(bucket, value)
    if value == normal:
        return normal, None
    if len(value) > MAX_SPELLING:
        hint = f"at most {MAX_SPELLING} characters; it is {normal[:64]!r}, written longer"
        raise Invalid(Problem("value", f"{len(value)} characters", hint))
    return normal, value
