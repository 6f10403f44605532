"""Prints the API's description (OpenAPI 3.1). ``make docs`` writes it to docs/openapi.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from control_plane.api.app import create_app
from control_plane.api.routes import classify
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet


async def _no_metrics() -> bytes:
    return b""


def description() -> str:
    """Return the description in JSON, with its keys in a stable order."""
    with tempfile.TemporaryDirectory() as directory:
        topology = Topology.open(f"sqlite:///{Path(directory) / 'empty.db'}")
        try:
            app = create_app(topology, Fleet(), metrics=_no_metrics, alarm=lambda: None)
            # Servers have a gateway, and with it this operation.
            app.include_router(classify.router)
            return json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"
        finally:
            topology.close()


if __name__ == "__main__":
    print(description(), end="")
