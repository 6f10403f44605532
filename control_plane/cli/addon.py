"""``cellway addon-path``: where the addon of mitmproxy is."""

from __future__ import annotations

from importlib.util import find_spec

from control_plane.cli.client import Failure
from control_plane.shipped import ADDON


def addon_path() -> None:
    """Print the path of the mitmproxy addon.

    Example: mitmdump -s "$(cellway addon-path)"
    """
    # The addon imports cellway, so a mitmdump of another environment can't run it.
    if find_spec("mitmproxy") is None:
        raise Failure('mitmproxy is not installed here: pip install "cellway[mitmproxy]"')
    print(ADDON)
