"""``make interop``: GitLab's Go client and grpc-go's xDS client against this server.

It builds ``main.go`` with the official module and runs it against a server that it starts. If the
module can't be downloaded, it says so, and protoc-gen-go generates a client from our own ``.proto``
files under the module's import path: this tests grpc-go and generated Go code, but not GitLab's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

from control_plane.server import running
from control_plane.settings import Settings
from tests.interop import xds_client
from tests.support.plane import add_cells

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULE = "gitlab.com/gitlab-org/cells/topology-service/clients/go"
PLUGINS = (
    "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
)
BUILD_S = 600
RUN_S = 60


def go_command() -> str | None:
    """Return the path of the Go toolchain, if there is one."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def go(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = go_command()
    assert command is not None
    environment = os.environ | {"GOFLAGS": "-mod=mod -buildvcs=false", "GOBIN": str(folder / "bin")}
    return subprocess.run(
        [command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )


def need(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(done.args)} failed:\n{done.stderr}")


def build(folder: Path) -> bool:
    """Build ``interop`` in a folder; tell whether it has GitLab's module, not the stand-in."""
    for name in ("main.go", "go.mod", "go.sum"):
        shutil.copy(HERE / name, folder / name)
    download = go(folder, "get", f"{MODULE}@latest")
    if download.returncode != 0:
        print(f"GitLab's module can't be had here: {download.stderr.strip()}", file=sys.stderr)
        stand_in(folder)
    need(go(folder, "build", "-o", "interop", "."))
    return download.returncode == 0


def stand_in(folder: Path) -> None:
    """Generate a client from our own ``.proto`` files under the official import path."""
    for plugin in PLUGINS:
        need(go(folder, "install", plugin))
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    client = folder / "client"
    client.mkdir()
    options = [
        option
        for plugin in ("go", "go-grpc")
        for option in (
            f"--plugin=protoc-gen-{plugin}={folder / 'bin' / f'protoc-gen-{plugin}'}",
            f"--{plugin}_out={client}",
            f"--{plugin}_opt=module={MODULE}",
        )
    ]
    if protoc.main(["protoc", *generate.inputs(folder), *options, *generate.sources()]) != 0:
        raise SystemExit("protoc failed")
    (client / "go.mod").write_text(f"module {MODULE}\n\ngo 1.24\n")
    need(go(folder, "mod", "edit", f"-require={MODULE}@v0.0.0", f"-replace={MODULE}=./client"))


async def drive(folder: Path) -> int:
    """Run the client against a server; return its exit status."""
    settings = Settings(
        database_url=f"sqlite:///{folder}/topology.db",
        roles=("topology",),
        grpc_port=0,
        health_interval_s=0,
    )
    async with running(settings) as plane:
        await asyncio.to_thread(add_cells, plane.topology)
        program = str(folder / "interop")
        process = await asyncio.create_subprocess_exec(program, f"127.0.0.1:{plane.ports.grpc}")
        async with asyncio.timeout(RUN_S):
            return await process.wait()


def main() -> int:
    """Run both clients; return 0 if every answer was right."""
    if go_command() is None:
        print("there is no Go toolchain here: install Go 1.26 or newer", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cellway-interop-") as scratch:
        folder = Path(scratch)
        official = build(folder)
        status = asyncio.run(drive(folder))
        xds = xds_client.copy_sources(folder)
        need(go(xds, "build", "-o", "client", "."))
        xds_status = asyncio.run(xds_client.drive(xds / "client"))
    client = "GitLab's Go client" if official else "a stand-in made from our own .proto files"
    print(f"{client}: {'passed' if status == 0 else 'FAILED'}")
    print(f"grpc-go's xDS client: {'passed' if xds_status == 0 else 'FAILED'}")
    return status or xds_status


if __name__ == "__main__":
    sys.exit(main())
