"""Opens the module's parts for Python: the sources that run inside Envoy, without its hooks.

Tests compare them with models in Python through this, millions of times a minute.
"""

from __future__ import annotations

import ctypes

from control_plane.edge_module.build import build
from control_plane.edge_module.compilers import Kind, Sanitizer


def load(sanitizer: Sanitizer | None = None) -> ctypes.CDLL:
    """Return the library, built if it has to be; every function of `envoy/module/*.h` is in it.

    Raises:
        NoCompiler: there is no C compiler.
        BuildFailed: it refused the sources.
    """
    return ctypes.CDLL(str(build(Kind(library=True, sanitizer=sanitizer))))
