"""``make demo``: a fleet of cells behind a real Envoy, asked real questions."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from rich.console import Console

from control_plane.cli.ending import run_to_end
from control_plane.cli.failure import Exit
from control_plane.cli.interrupts import interruptible
from control_plane.cli.local.system import everything, failures_of_command
from control_plane.edge_module.build import BuildFailed, build
from control_plane.edge_module.compilers import NoCompiler
from control_plane.examples.tour import CLAIMS, NEW_CELL, Tour
from control_plane.process.event_loop import run_loop, unless_signalled, until_signal
from control_plane.process.listening import free_port
from control_plane.process.private_files import only_private_files
from control_plane.settings import Settings

CELL_START_S = 20.0
"""How long an example cell may take until it listens."""
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


async def demo(*, once: bool) -> int:
    """Run the demo until Ctrl-C, or with ``once`` until it is through; return the exit status."""
    async with contextlib.AsyncExitStack() as stack:
        wrong = await unless_signalled(_show(stack))
        if wrong is None:
            return int(Exit.INTERRUPTED)
        if not once:
            console.print("Ctrl-C stops everything.")
            await until_signal()
        return 1 if wrong else 0


async def _show(stack: contextlib.AsyncExitStack) -> list[str]:
    """Start everything, which the stack stops, and send requests; return what went wrong."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cellway-demo-")))
    settings = _settings(directory)
    await _build_module()
    ports = {name: free_port() for name in (*CLAIMS, NEW_CELL)}
    async with asyncio.TaskGroup() as starting:
        for name, port in ports.items():
            starting.create_task(stack.enter_async_context(example_cell(name, port)))
    plane, _, admin = await stack.enter_async_context(everything(settings))
    api = await stack.enter_async_context(_client(plane.ports.api))
    edge = await stack.enter_async_context(_client(settings.edge_port))
    tour = Tour(api, edge, console)
    await tour.load({name: ports[name] for name in CLAIMS})
    await tour.walk()
    await tour.grow(ports[NEW_CELL])
    await tour.explain()
    console.print(f"\nedge http://127.0.0.1:{settings.edge_port}  ", end="")
    console.print(f"API http://127.0.0.1:{plane.ports.api}/docs  ", end="")
    console.print(f"Envoy admin {admin}", soft_wrap=True)
    for line in tour.wrong:
        console.print(f"WRONG: {line}", style="red", markup=False)
    if not tour.wrong:
        console.print("Every request reached its right cell.")
    return tour.wrong


async def _build_module() -> None:
    """Build the module of the edge map, if there is a compiler; it is kept for the next time."""
    try:
        await asyncio.to_thread(build)
    except NoCompiler:
        return
    except (BuildFailed, OSError) as error:
        console.print(f"the edge map's module can't be built: {error}", markup=False)


def _settings(directory: Path) -> Settings:
    """Return the settings of a system on the default ports, as far as they are free."""
    return Settings(
        database_url=f"sqlite:///{directory}/cellway.db",
        data_dir=directory,
        edge_port=choose_port(10000),
        api_port=choose_port(8000),
        grpc_port=choose_port(18000),
        classifier_port=choose_port(18001),
    )


def choose_port(wanted: int) -> int:
    """Return this port if it is free; else say so, and return another one."""
    port = free_port(wanted)
    if port != wanted:
        console.print(f"port {wanted} is taken; using another one")
    return port


@contextlib.asynccontextmanager
async def example_cell(name: str, port: int) -> AsyncIterator[None]:
    """Run a cell in a process of its own; it listens when the block begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "control_plane.example_cell", "--name", name, "--port", str(port)),
        # Ctrl-C is for the demo, which ends its cells itself when their requests are done.
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(CELL_START_S):
            await _listens(port)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> None:
    """Wait until something listens on a port of this machine."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)


def main() -> None:
    """``python -m control_plane.demo [--once]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the requests")
    logging.basicConfig(level=logging.WARNING)
    once = parser.parse_args().once

    def run() -> None:
        with interruptible(), only_private_files(), failures_of_command():
            sys.exit(run_loop(demo(once=once)))

    sys.exit(run_to_end(run))


if __name__ == "__main__":
    main()
