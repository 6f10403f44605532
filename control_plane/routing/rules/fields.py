"""Reads the parts that several fields of a rule are made of: lists, regexes and templates."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from control_plane.routing.rules.limits import BudgetExceeded
from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.regex import Regex, RegexError
from control_plane.routing.rules.ruleset import Template

MAX_PARTS = 32
"""Matches, transforms or claims of one rule."""
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\}")
_SPELLINGS = {"regex_name": "name", "regex_value": "regexValue"}


def check_fields(
    raw: dict[str, Any], allowed: Iterable[str], problems: Problems, prefix: str = ""
) -> None:
    """Report each field of an object that is not an allowed one."""
    allowed = tuple(allowed)
    for field in raw:
        if field not in allowed:
            near = difflib.get_close_matches(field, allowed, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(allowed)}"
            problems.add(f"{prefix}{field}", "unknown field", hint)


def read_objects(raw: Any, field: str, problems: Problems) -> list[dict[str, Any]]:
    """Return the objects of a field that holds one or a list of them, spelled in one way."""
    if raw is None:
        return []
    items = raw if isinstance(raw, list) else [raw]
    if len(items) > MAX_PARTS:
        problems.add(field, f"more than {MAX_PARTS}", "split the rule")
        return []
    objects: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, dict):
            spelled = {_SPELLINGS.get(str(key), str(key)): value for key, value in item.items()}
            objects.append(spelled)
        else:
            problems.add(field, "must be an object or a list of objects", "write {…}")
    return objects


def read_regex(raw: Any, field: str, problems: Problems, *, fold: bool = False) -> Regex | None:
    """Return a compiled regex; with ``fold`` it ignores case. None if RE2 refuses it.

    Raises:
        RulesetError: The patterns of the ruleset are too many or too large together.
    """
    if not isinstance(raw, str):
        problems.add(field, "must be a regular expression in a string", 'write "^…$"')
        return None
    try:
        return problems.budget.compile(raw, case_sensitive=not fold)
    except BudgetExceeded as error:
        problems.stop(field, str(error), "split the ruleset, or write simpler patterns")
    except RegexError as error:
        problems.add(field, f"RE2 refuses {raw!r}: {error}", "use RE2 syntax (no lookaround)")
    return None


def read_template(raw: Any, field: str, problems: Problems) -> Template | None:
    """Return a text with ``${…}`` references, taken apart; a number counts as its digits."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    if not isinstance(raw, str) or not raw:
        problems.add(field, "must be a text, with ${…} for captures", 'write "${name}"')
        return None
    parts: list[tuple[bool, str]] = []
    at = 0
    for reference in _REFERENCE.finditer(raw):
        if reference.start() > at:
            parts.append((False, raw[at : reference.start()]))
        parts.append((True, reference[1]))
        at = reference.end()
    if at < len(raw):
        parts.append((False, raw[at:]))
    if any("${" in text for is_reference, text in parts if not is_reference):
        problems.add(field, f"{raw!r} has a malformed ${{…}}", "write ${name} or ${output.key}")
        return None
    return Template(raw, tuple(parts))
