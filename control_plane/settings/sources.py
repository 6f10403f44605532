"""Where settings come from, beside the options of a command: the environment and a TOML file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

PREFIX = "CELLWAY_"
TOML_FILE = "cellway.toml"


class Environment(EnvSettingsSource):
    """Variables such as ``CELLWAY_ROLES``. A list is JSON, or words with commas: ``api,xds``."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return a list or mapping that a variable has as text."""
        text = value.strip() if isinstance(value, str) else "["
        if not text:
            return value  # An empty variable is an error, which `Settings` tells of.
        # What may be one text, such as a pattern, may have commas of its own.
        if text.startswith(("[", "{")) or not _is_list(field.annotation):
            return super().decode_complex_value(field_name, field, value)
        return [part.strip() for part in text.split(",") if part.strip()]


def _is_list(annotation: Any) -> bool:
    """Return whether a setting is a list, or a list or None."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return all(kind is NoneType or get_origin(kind) is tuple for kind in kinds)


def origin_of(name: str, options: Iterable[str]) -> str:
    """Return where a setting's value stands, as a user finds it.

    Args:
        name: the setting, for example ``api_port``.
        options: the settings that options of a command have set.

    Returns:
        For example ``--api-port``, ``CELLWAY_API_PORT`` or ``cellway.toml: api_port``.
    """
    if name in options:
        return f"--{name.replace('_', '-')}"
    variables = [one for one in os.environ if one.upper() == f"{PREFIX}{name.upper()}"]
    return variables[0] if variables else f"{TOML_FILE}: {name}"
