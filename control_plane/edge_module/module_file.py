"""Tells whether a file can be the module, before an Envoy is asked to load it.

Envoy refuses a file that is missing, and says why. A file that was cut off is worse: the loader
maps it as if it were whole, and Envoy ends at the first page that is not there. So the file's own
description of its length is looked at.
"""

from __future__ import annotations

import platform
from pathlib import Path

from control_plane.edge_module.build import MODULE_FILE
from control_plane.edge_module.shared_object import machine_of, why_broken

_ENTRY = b"envoy_dynamic_module_on_program_init"
"""What every module of Envoy exports."""
_MACHINES = {"x86_64": 62, "aarch64": 183}


def wrong_name(path: Path) -> str:
    """Return what is wrong with the name of a module's file; empty if it is the right one."""
    if path.name == MODULE_FILE:
        return ""
    return f"{path} must be named {MODULE_FILE}: Envoy looks for it by that name"


def why_unusable(path: Path) -> str:
    """Return why an Envoy on this machine can't use a file as the module; empty if it can.

    Args:
        path: The file.
    """
    if wrong := wrong_name(path):
        return wrong
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    if broken := why_broken(content):
        return f"{path} {broken}"
    if machine_of(content) != _MACHINES.get(platform.machine()):
        return f"{path} is for another processor than this one ({platform.machine()})"
    if _ENTRY not in content:
        return f"{path} is no module of Envoy"
    return ""
