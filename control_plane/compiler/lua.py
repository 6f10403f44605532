"""The Lua that goes to Envoy: files of `envoy/`, with what they look up written in front."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from control_plane.compiler.native import KeyLookup

FOLDER = Path(__file__).parents[2] / "envoy"


@cache
def _script(name: str) -> str:
    return (FOLDER / name).read_text()


def cell_of_key(lookup: KeyLookup, clusters: Mapping[str, str]) -> str:
    """The cluster specifier of a rule with a key: the key's text, then its cluster."""
    table = ", ".join(f"[{text(key)}] = {text(name)}" for key, name in sorted(clusters.items()))
    return (
        f"local HEADER, MARK = {text(lookup.header)}, {text(lookup.mark)}\n"
        f"local PATTERN = {text(lookup.lua_pattern())}\n"
        f"local CLUSTERS = {{{table}}}\n"
        f"{_script('cell_of_key.lua')}"
    )


def text(value: str) -> str:
    """A Lua string literal for any text."""
    return '"' + "".join(_char(byte) for byte in value.encode()) + '"'


def _char(byte: int) -> str:
    char = chr(byte)
    return char if 0x20 <= byte < 0x7F and char not in '"\\' else f"\\{byte:03d}"
