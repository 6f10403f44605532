"""Prints the API's description (OpenAPI 3.1), as it stands in docs/openapi.json: `make docs`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from control_plane.api.app import create_app
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet


async def _nothing() -> bytes:
    return b""


def description() -> str:
    """The document, with a stable order of keys."""
    with tempfile.TemporaryDirectory() as directory:
        topology = Topology.open(f"sqlite:///{Path(directory) / 'empty.db'}")
        try:
            app = create_app(topology, Fleet(), metrics=_nothing, alarm=lambda: None)
            return json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"
        finally:
            topology.close()


if __name__ == "__main__":
    print(description(), end="")
