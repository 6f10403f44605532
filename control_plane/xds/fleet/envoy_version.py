"""Tells which Envoys are too old for the fleet.

Old Envoys join, accept everything and route (tried with 1.37.0, 1.38.3 and 1.39.3), so nothing but
their version tells that they are a risk.
"""

from __future__ import annotations

MIN_VERSION = (1, 40, 0)
"""The first that has all security fixes of 2026 to ext_authz and to paths and hosts."""
BYTE_REGEX_VERSION = (1, 39, 0)
"""The first with ``re2_use_latin1_mode``, which our bootstrap turns on."""


def outdated(version: str) -> str:
    """Return why a node of this version should not be in the fleet; empty if it may be.

    The version 0.0.0 is that of a client that does not name one, as gRPC's: it is no Envoy.
    """
    numbers = parsed(version)
    if numbers is None or numbers == (0, 0, 0) or numbers >= MIN_VERSION:
        return ""
    why = f"Envoy {version} is older than {_text(MIN_VERSION)}: it lacks security fixes"
    if numbers < BYTE_REGEX_VERSION:
        why += ", and its regexes read UTF-8, so that it may choose another cell than it should"
    return why


def parsed(version: str) -> tuple[int, ...] | None:
    """Return the major, minor and patch number; None if the text is not such a version."""
    parts = version.split(".")
    if len(parts) != len(MIN_VERSION) or not all(part.isdecimal() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
