"""Which Envoys are sent configuration that needs the module.

A fault in a module ends its Envoy, and Envoy's binary interface changes from version to version. So
two things must hold: the node says that it finds the file, and its Envoy is of a version with which
the module was tried.
"""

from __future__ import annotations

from typing import Any

from control_plane.names import EDGE_MODULE_VERSION, MODULE_METADATA, NODE_METADATA

TRIED_VERSIONS = ("1.40",)
"""The versions of Envoy with which the module was tried, without their patch numbers."""


def says_module(metadata: Any) -> bool:
    """Return whether a node's metadata (a ``Struct``) says that it finds the module's file."""
    if NODE_METADATA not in metadata.fields:
        return False
    own = metadata.fields[NODE_METADATA].struct_value.fields
    return MODULE_METADATA in own and own[MODULE_METADATA].string_value == EDGE_MODULE_VERSION


def is_tried(version: str) -> bool:
    """Return whether the module was tried with a version of Envoy, such as ``1.40.0``."""
    return version.rpartition(".")[0] in TRIED_VERSIONS
