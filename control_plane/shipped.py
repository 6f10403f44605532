"""Where the files are that come with cellway and are read while it runs.

    envoy/       the Lua scripts that run inside Envoy
    rulesets/    rulesets that can be applied by their names
    addons/      the addon of mitmproxy

In the repository these folders lie beside `control_plane/`. In a wheel they lie in
`control_plane/_shipped/` (`setup.py` puts them there), because the module name `envoy` is taken.
"""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).with_name("_shipped")
_FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]
ENVOY_SCRIPTS = _FOLDER / "envoy"
RULESETS = _FOLDER / "rulesets"
ADDON = _FOLDER / "addons" / "cellway.py"


def rulesets() -> dict[str, Path]:
    """Return the files of the rulesets that come with cellway, by name."""
    return {path.stem: path for path in sorted(RULESETS.glob("*.json"))}
