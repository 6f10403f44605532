"""Long commands, and Ctrl-C at some moment after they have begun to load.

    python -m tests.cli.ctrl_c [--minutes N]      # all of them, at random moments; `make soak`

Python itself needs some 20 ms until it runs the first line of a program. Whoever presses Ctrl-C
in them sees a traceback of the interpreter's own start, which no program can keep off. So the
moments count from that line.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import unused_port
from tests.support.rest_server import RestServer
from tests.support.system import RULESETS
from tests.support.terminal import Stopped, Terminal

ROOT = Path(__file__).parents[2]
LOADS = "the first line of the program"
BEGINNING = f"print({LOADS!r}, flush=True); main()"
CELLWAY = f"from control_plane.cli.__main__ import main; {BEGINNING}"
DEMO = f"from control_plane.demo import main; {BEGINNING}"
MAX_LINES = 5
LATEST_S = 3.0
"""How long after its beginning a program is interrupted at most."""
INTERRUPTED = frozenset({-signal.SIGINT, 130})
"""What a shell shows as 130."""


@dataclass(frozen=True, slots=True)
class Long:
    """A command that goes on until it is stopped, or long enough to be."""

    program: str
    arguments: Callable[[Path], list[str]]
    stops: bool = False
    """Whether to be stopped is its normal end, with the status 0."""

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-c", self.program, *self.arguments(directory)]

    def fault(self, stopped: Stopped) -> str | None:
        """Return what is wrong with its end; None if nothing is."""
        statuses = INTERRUPTED | {0} if self.stops else INTERRUPTED
        lines = stopped.said.removeprefix("^C").strip().splitlines()
        right = (
            stopped.status in statuses
            and len(lines) <= MAX_LINES
            and not any(word in stopped.said for word in ("Traceback", "Exception", "fault of"))
            and not stopped.left
        )
        return None if right else f"status {stopped.status}, left {stopped.left}:\n{stopped.said}"


def _plane(name: str, *more: str) -> Callable[[Path], list[str]]:
    def arguments(directory: Path) -> list[str]:
        flags = ["--api-port", "--grpc-port", "--classifier-port", *more]
        ports = [word for flag in flags for word in (flag, str(unused_port()))]
        return [name, *ports, "--data-dir", str(directory / "data")]

    return arguments


def _agent(directory: Path) -> list[str]:
    where = str(directory / "snapshots")
    return ["envoy", "agent", "--node-id", "e", "--xds", "127.0.0.1:1", "--snapshot-dir", where]


def _import(directory: Path) -> list[str]:
    claims = directory / "claims.ndjson"
    claims.write_text('{"bucket": "route", "value": "b", "cell": "c1"}\n')
    return ["claims", "import", str(claims)]


def _of(*arguments: str) -> Callable[[Path], list[str]]:
    return lambda _: list(arguments)


RULES = str(RULESETS / "gitlab.json")
WITH_API: Mapping[str, Long] = {
    "changes --watch": Long(CELLWAY, _of("changes", "--watch")),
    "claims import": Long(CELLWAY, _import),
    "claims export": Long(CELLWAY, lambda directory: ["claims", "export", str(directory / "out")]),
    "rules apply --wait": Long(CELLWAY, _of("rules", "apply", RULES, "--wait")),
    "fleet status": Long(CELLWAY, _of("fleet", "status")),
}
"""Commands that wait for an API. If it does not answer, each goes on until Ctrl-C."""
SYSTEMS: Mapping[str, Long] = {
    "serve": Long(CELLWAY, _plane("serve"), stops=True),
    "up": Long(CELLWAY, _plane("up", "--edge-port"), stops=True),
    "envoy agent": Long(CELLWAY, _agent, stops=True),
    "demo": Long(DEMO, _of(), stops=True),
}
"""Commands that run something here."""


def environment(server: str) -> dict[str, str]:
    """Return the variables of a user who has set nothing but the server's address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELLWAY_")}
    return kept | {"CELLWAY_SERVER": server, "TERM": "xterm", "PYTHONPATH": str(ROOT)}


def stopped_after(long: Long, seconds: float, directory: Path, server: str) -> Stopped | None:
    """Run a command, and press Ctrl-C so long after its beginning; None if it had ended before."""
    with Terminal.running(long.command(directory), environment(server), directory) as terminal:
        terminal.read_until(LOADS)
        terminal.read_for(seconds)
        return None if terminal.has_ended else terminal.stop()


def main() -> None:
    """Press Ctrl-C for some minutes; the exit status is 0 only if no end was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    longs = [*WITH_API.items(), *SYSTEMS.items()]
    faults: list[str] = []
    tries = 0
    with tempfile.TemporaryDirectory() as path, RestServer(Path(path)) as api:
        while time.monotonic() < end:
            name, long = longs[tries % len(longs)]
            # Most of what can go wrong happens while modules are loaded.
            seconds = random.uniform(0, random.choice((0.3, LATEST_S, 3 * LATEST_S)))
            with tempfile.TemporaryDirectory() as directory:
                stopped = stopped_after(long, seconds, Path(directory), api.url)
            if stopped is not None and (fault := long.fault(stopped)):
                faults.append(f"{name}, {seconds:.3f} s: {fault}")
            tries += 1
    print(f"Ctrl-C: {tries} commands, {len(faults)} ended badly", *faults, sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
