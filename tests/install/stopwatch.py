"""From nothing to the first routed request on a second machine, by the documentation alone.

    python -m tests.install.stopwatch      # make stopwatch; exit status 1 above five minutes

It does what docs/install.md and docs/fleet.md say, to the letter: build the wheel, install it into
clean environments on two machines (network namespaces), start a control plane on one of them,
Envoy with its agent on the other, declare a cell, a claim and the rules, and send a request. It
prints how long each step took. Only pip runs outside the namespaces, which have no way to a package
index; it takes packages from wherever this machine's pip does.

Somebody types the commands, for which a time is added. Nobody is needed for the rest.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.install.build import ROOT, copy_sources
from tests.support.conditions import wait_until
from tests.support.network_hosts import Host, two_hosts, why_none

FLEET = (ROOT / "docs" / "fleet.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
BLOCKS = dict(re.findall(r"^```sh ([a-z-]+)\n(.*?)^```$", FLEET, re.DOTALL | re.MULTILINE))
BUILD = next(line for line in INSTALL.splitlines() if line.startswith("    pip wheel"))
PLANE, EDGE = "10.0.0.1", "10.0.0.2"
MOST_S = 300.0
TYPING_S = 5.0
"""What somebody needs to type or to copy a command."""
ROUTED = '"cell": "cell-1"'


class Stopwatch:
    """How long each step took, printed when it has ended."""

    def __init__(self) -> None:
        self.total_s = 0.0

    @contextlib.contextmanager
    def step(self, name: str, *blocks: str) -> Iterator[None]:
        """Time a step; somebody types its blocks of commands."""
        commands = _commands("".join(blocks))
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        self.total_s += took + commands * TYPING_S
        print(f"{took:6.1f} s  {name} ({commands} commands)", flush=True)


def _commands(block: str) -> int:
    """Return how many commands a block has: lines, but for those that go on."""
    return sum(not line.endswith("\\") for line in block.splitlines() if line.strip())


def follow(watch: Stopwatch, plane: Host, edge: Host, answer: list[str]) -> None:
    """Follow the page from the control plane to the request, of which the answer is kept."""
    with watch.step("start the control plane", BLOCKS["token"], BLOCKS["plane"]):
        plane.follow(BLOCKS["token"])
        plane.follow(BLOCKS["plane"])
        _says(plane, "plane.log", "cellway is up")
    with watch.step("declare a cell, a claim and the rules", BLOCKS["topology"]):
        plane.follow(BLOCKS["topology"])
    with watch.step("start a cell and the agent", BLOCKS["cell"], BLOCKS["agent"]):
        edge.follow(BLOCKS["cell"] + BLOCKS["agent"])
        wait_until((edge.directory / "edge-1" / "agent.sock").exists, timeout_s=60)
    with watch.step("start Envoy", BLOCKS["envoy"]):
        edge.follow(BLOCKS["envoy"])
    with watch.step("send the request until it is routed", BLOCKS["request"]):

        def routed() -> bool:
            answer[:] = [plane.follow(BLOCKS["request"].rstrip() + " || true")]
            return ROUTED in answer[0]

        wait_until(routed, timeout_s=60)
    with watch.step("look at the fleet", BLOCKS["status"]):
        shown = plane.follow(BLOCKS["status"])
    if "SYNCED" not in shown:
        sys.exit(f"the edge is not SYNCED:\n{shown}")


def _says(host: Host, log: str, text: str) -> None:
    file = host.directory / log
    wait_until(lambda: file.exists() and text in file.read_text(), timeout_s=60)


def prepare(
    watch: Stopwatch, folder: Path, environment: dict[str, str], directories: tuple[Path, Path]
) -> None:
    """Build the wheel, copy it to both machines, and install it there."""
    source = copy_sources(folder / "source")
    with watch.step("build the wheel", BUILD):
        _sh(BUILD.partition(" #")[0], source, environment)
    (wheel,) = (source / "dist").glob("*.whl")
    for directory in directories:
        shutil.copy(wheel, directory)
        with watch.step(f"install on {directory.name}", BLOCKS["install"]):
            _sh(BLOCKS["install"], directory, environment)


def _sh(block: str, directory: Path, environment: dict[str, str]) -> None:
    """Run a block of commands with the network of this machine."""
    command = ["sh", "-eu", "-c", block]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{block}\nfails in {directory}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _environment(folder: Path) -> dict[str, str]:
    """Return the variables of somebody whose ``python3`` is this one, and who has set nothing."""
    tools = folder / "tools"
    tools.mkdir()
    base = Path(sys.base_prefix) / "bin"
    for name in ("python3", "pip"):
        (tools / name).symlink_to(base / name)
    kept = ("HOME", "LANG", "PIP_INDEX_URL", "PIP_CERT", "PIP_FIND_LINKS", "SSL_CERT_FILE")
    proxies = tuple(name for name in os.environ if name.lower().endswith("_proxy"))
    variables = {name: os.environ[name] for name in (*kept, *proxies) if name in os.environ}
    return variables | {"PATH": f"{tools}:{os.environ['PATH']}", "NO_COLOR": "1"}


def main() -> None:
    """Do all of it; the exit status is 0 only if it takes at most `MOST_S`."""
    if reason := why_none("curl", "openssl"):
        sys.exit(f"no network namespaces here: {reason}")
    watch = Stopwatch()
    answer: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cellway-stopwatch-") as path:
        folder = Path(path)
        directories = folder / "plane", folder / "edge"
        for directory in directories:
            directory.mkdir()
        environment = _environment(folder)
        prepare(watch, folder, environment, directories)
        with two_hosts(directories, (PLANE, EDGE), environment) as (plane, edge):
            for host in (plane, edge):
                host.follow(". cellway/bin/activate")
            follow(watch, plane, edge, answer)
    print(answer[0].strip()[:200])
    print(f"{watch.total_s:6.1f} s  in all, with {TYPING_S:g} s for each command to be typed")
    sys.exit(0 if watch.total_s <= MOST_S else f"that is above {MOST_S:g} s")


if __name__ == "__main__":
    main()
