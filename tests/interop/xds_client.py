"""grpc-go's own xDS client (``xds:///``) against our server, in the cases that grpcio's client
passes."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.xds.grpc_client_cases import CASES
from tests.xds.grpc_world import calling
from tests.xds.server.wire import Wire

SOURCES = Path(__file__).with_name("xds")


def copy_sources(folder: Path) -> Path:
    """Copy the Go module into a folder where it can be built; return the copy."""
    return Path(shutil.copytree(SOURCES, folder / "xds"))


async def drive(program: Path) -> int:
    """Run every case, each with its own server and client; return 0 if all of them passed."""
    for case in CASES:
        async with (
            Wire(force_shrink=True) as wire,
            calling(wire.port, str(program)) as caller,
        ):
            try:
                await case(wire, caller)
            except (AssertionError, TimeoutError) as error:
                print(f"grpc-go's xDS client: {case.__name__}: {error!r}")
                return 1
    return 0
