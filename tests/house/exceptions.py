"""What breaks a rule of the house, with the reason. An exception that excuses nothing fails.

Each is `what the checker names: why it is so`. The lists are meant to be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PLACES: dict[str, str] = {}
"""Places of the table where no file lies."""

HOMELESS: dict[str, str] = {}
"""Files outside all rooms; nobody looks at what they import."""

ARROWS: dict[tuple[str, str], str] = {}
"""(importer, target) of imports that the table doesn't allow, or that close a circle."""

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

SILENT: dict[str, str] = {}
"""Files with code and without a docstring."""

ASSERTED: dict[str, str] = {}
"""``path: text`` of assertions in the composition root that a part exists."""


def judge(broken: Mapping[str, object] | Iterable[str], exceptions: Mapping[str, str]) -> list[str]:
    """Return what breaks a rule without an exception, and the exceptions that excuse nothing.

    Args:
        broken: the names of what breaks the rule, or these names with what is to be shown.
        exceptions: names with reasons.
    """
    shown = broken if isinstance(broken, Mapping) else {name: name for name in broken}
    return [
        *sorted(f"breaks the rule: {shown[name]}" for name in shown.keys() - exceptions.keys()),
        *sorted(
            f"needs no exception any more: {name}" for name in exceptions.keys() - shown.keys()
        ),
    ]
