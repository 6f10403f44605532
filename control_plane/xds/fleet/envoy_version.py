"""Which Envoys are too old for the fleet.

Older ones join, take everything and route (tried with 1.37.0, 1.38.3 and 1.39.3), so that nothing
but their version tells that they are a risk.
"""

from __future__ import annotations

MIN_VERSION = (1, 40, 0)
"""Has the security fixes of 2026 to ext_authz and to paths and hosts; older lines have a part."""
REGEX_BYTES = (1, 39, 0)
"""The first with ``re2_use_latin1_mode``, which our bootstrap turns on."""


def outdated(version: str) -> str:
    """Return why a node of this version should not be in the fleet; empty if it may.

    A version of 0.0.0 is that of a client that does not say one, as those of gRPC: no Envoy.
    """
    numbers = parsed(version)
    if numbers is None or numbers == (0, 0, 0) or numbers >= MIN_VERSION:
        return ""
    why = f"Envoy {version} is older than {_text(MIN_VERSION)}: it lacks security fixes"
    if numbers < REGEX_BYTES:
        why += ", and its regexes read UTF-8, so that it may choose another cell than it should"
    return why


def parsed(version: str) -> tuple[int, ...] | None:
    """Return major, minor and patch number; None for what is no such version."""
    parts = version.split(".")
    if len(parts) != len(MIN_VERSION) or not all(part.isdecimal() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
