"""The module of the edge map in tests that were not written for it."""

from __future__ import annotations

import os
from pathlib import Path

from control_plane.edge_module.build import build

EVERYWHERE = "CELLWAY_TEST_EDGE_MAP"
"""If this variable is set, the Envoy of each `System` has the module (`make soak`)."""


def module_everywhere() -> Path | None:
    """Return the module's file if every Envoy is to have it."""
    return build() if os.environ.get(EVERYWHERE) else None
