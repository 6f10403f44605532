"""Settings from what options say, the environment and ``cellway.toml``.

Each thing that is wrong is named where it stands: ``--api-port``, ``CELLWAY_API_PORT`` or
``cellway.toml: api_port``.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from control_plane.cli.failure import Exit, Failure
from control_plane.cli.output import messages
from control_plane.settings import Settings
from control_plane.settings.sources import PREFIX, TOML_FILE, origin_of

MAX_SHOWN = 3
"""How many wrong settings are shown at once."""
OF_COMMANDS = frozenset(
    {"CELLWAY_SERVER", "CELLWAY_SERVER_CA", "CELLWAY_CLIENT_CERTIFICATE", "CELLWAY_TOKEN"}
    | {"CELLWAY_DEBUG"}
)
"""Variables that are no settings of a control plane."""
_FIELD = re.compile(r'field "(\w+)"')


def settings_of(**options: Any) -> Settings:
    """Return the settings; an option that is None was not given, so others say what it is.

    A variable that is no setting is told on stderr, since it may be a misspelt one.

    Raises:
        Failure: a setting is wrong; the message has a line for each.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for variable in _unknown_variables():
        messages.print(f"{variable} is no setting{_guess(variable)}: ignored", markup=False)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _wrong(_lines(error, given)) from error
    except SettingsError as error:
        field = _FIELD.search(str(error))
        where = origin_of(field[1], given) if field else str(error)
        raise _wrong([f'{where}: write a,b or a list as JSON, for example ["a", "b"]']) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong([f"{TOML_FILE} is not TOML: {error}"]) from error


def _wrong(lines: list[str]) -> Failure:
    if len(lines) > MAX_SHOWN:
        lines = [*lines[:MAX_SHOWN], f"… and {len(lines) - MAX_SHOWN} more"]
    return Failure("\n  ".join(["the configuration is wrong", *lines]), Exit.USAGE)


def _lines(error: ValidationError, given: Collection[str]) -> list[str]:
    lines: dict[str, None] = {}
    for one in error.errors(include_url=False, include_input=False):
        says = one["msg"].removeprefix("Value error, ")
        place = [str(part) for part in one["loc"]]
        if one["type"] == "extra_forbidden":
            lines[f"{TOML_FILE}: {place[0]} is no setting{_guess(place[0])}"] = None
        elif place and place[0] in Settings.model_fields:
            where = origin_of(place[0], given)
            # Some texts begin with the variable's name already.
            lines[says if says.startswith(where) else f"{where}: {says}"] = None
        else:
            lines[says] = None
    return list(lines)


def _unknown_variables() -> list[str]:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | OF_COMMANDS
    ours = (one for one in sorted(os.environ) if one.upper().startswith(PREFIX))
    return [one for one in ours if one.upper() not in known][:MAX_SHOWN]


def _guess(name: str) -> str:
    """Return a hint at the setting that somebody may have meant."""
    plain = name.upper().removeprefix(PREFIX).lower()
    close = difflib.get_close_matches(plain, Settings.model_fields, 1, 0.75)
    if not close:
        return ""
    upper = name.upper().startswith(PREFIX)
    return f", but {PREFIX + close[0].upper() if upper else close[0]} is"
