"""Settings from what options say, the environment and ``cellway.toml``."""

from __future__ import annotations

import tomllib
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from control_plane.cli.client import Exit, Failure
from control_plane.settings import Settings


def settings_of(**options: Any) -> Settings:
    """Return the settings; an option that is None was not given, so others say what it is.

    Raises:
        Failure: a setting is wrong; the message has a line for each.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise Failure("\n".join(["the configuration is wrong", *lines]), Exit.USAGE) from error
    except SettingsError as error:
        # A list in the environment that is no JSON. The text names the setting, not its value.
        text = f"the configuration is wrong\n  {error}: write a list as JSON, for example '[\"a\"]'"
        raise Failure(text, Exit.USAGE) from error
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"cellway.toml is wrong\n  {error}", Exit.USAGE) from error
