"""What breaks a rule of the house today, with the reason. An exception that excuses nothing fails.

Each is `what the checker names: why it is so`. The lists are meant to be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ARROWS: dict[tuple[str, str], str] = {}
"""(importer, target) of an import that the table doesn't allow, or that closes a circle."""

LOADS: dict[tuple[str, str], str] = {}
"""(program or leaf, module) that it loads, though it must not."""

FILES: dict[str, str] = {}
"""Files of more lines than a file may have."""

FUNCTIONS: dict[str, str] = {}
"""``path:name`` of functions of more lines than a function may have."""

CONSTANTS: dict[str, str] = {}
"""``NAME = value`` that two modules of control_plane define."""

WIRE_NAMES: dict[str, str] = {}
"""Type URLs and headers that two modules of control_plane spell out."""

REPEATS: dict[str, str] = {}
"""Files that share a run of lines with another file of this list, or with themselves."""


def judge(found: Iterable[str], exceptions: Mapping[str, str]) -> list[str]:
    """Return what breaks a rule without an exception, and the exceptions that excuse nothing."""
    broken = set(found)
    return [
        *sorted(f"breaks the rule: {one}" for one in broken - exceptions.keys()),
        *sorted(f"needs no exception any more: {one}" for one in exceptions.keys() - broken),
    ]
