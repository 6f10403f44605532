"""One spelling for each claim's value, defined once per bucket: look-ups and claims agree."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

import idna

from control_plane.names import BUCKET
from control_plane.topology.values.errors import Invalid, Problem

MAX_VALUE_BYTES = 1024
MAX_SPELLING = 1024
"""Characters of a value as it was sent, as many as GitLab's service keeps."""


def _folded(value: str) -> str:
    if value.isascii():
        # The same, at a tenth of the cost: look-ups come through here.
        return value.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())


def _path(value: str) -> str:
    return _folded(value).strip("/")


def _name(value: str) -> str:
    return _folded(value).strip()


def _host(value: str) -> str:
    host = value.strip().lower().removesuffix(".")
    if host.isascii():
        return host
    return idna.encode(host, uts46=True).decode("ascii")


def _email(value: str) -> str:
    local, at, domain = value.strip().rpartition("@")
    if not at or not local or not domain:
        raise ValueError("an e-mail address has a local part, @ and a domain")
    return f"{_name(local)}@{_host(domain)}"


def _number(value: str) -> str:
    text = value.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) == 0:
        raise ValueError("an id is a positive decimal number")
    return str(int(text))


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
        "host": _host,
        "pages_domain": _host,
        "pages_unique_domain": _host,
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


def normalise(bucket: str, value: str) -> str:
    """The one spelling of `value` in `bucket` under which it is stored and looked up.

    Raises:
        Invalid: no such bucket name can be, or the value is empty, too long or malformed.
    """
    rule = _RULES.get(bucket)
    if rule is None:
        if not BUCKET.match(bucket):
            mend = "1 to 64 of a-z, 0-9 and _"
            raise Invalid(Problem("bucket", f"{bucket!r} is no bucket", mend))
        rule = _plain
    try:
        result = rule(value)
        size = len(result) if result.isascii() else len(result.encode())
    except (ValueError, UnicodeError) as error:
        raise Invalid(Problem("value", f"{value!r}: {error}", f"give a {bucket}")) from error
    if not 1 <= size <= MAX_VALUE_BYTES:
        mend = f"1 to {MAX_VALUE_BYTES} bytes"
        raise Invalid(Problem("value", f"{size} bytes after normalisation", mend))
    if "\x00" in result:
        # PostgreSQL keeps none in text.
        raise Invalid(Problem("value", f"{value!r} holds a NUL character", "leave it out"))
    return result


def can_be_kept(text: str) -> bool:
    """Whether any database keeps it: PostgreSQL has no NUL in text, none has half a surrogate."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return "\x00" not in text


def normalise_spelled(bucket: str, value: str) -> tuple[str, str | None]:
    """A value to be claimed, normalised; and as it was sent, None where that is the same.

    Raises:
        Invalid: as `normalise` does, or it is too long as it was sent.
    """
    normal = normalise(bucket, value)
    if value == normal:
        return normal, None
    if len(value) > MAX_SPELLING:
        mend = f"at most {MAX_SPELLING} characters; it is {normal[:64]!r}, written longer"
        raise Invalid(Problem("value", f"{len(value)} characters", mend))
    return normal, value
