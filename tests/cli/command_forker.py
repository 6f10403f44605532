"""Runs ``cellway`` many times as real processes, each forked from one that has loaded everything.

A process of its own has descriptors, a working directory, an environment and a user of its own,
which is what bad environments differ in. To fork it takes milliseconds, where Python takes a second
to start. ``python -m tests.cli.command_forker`` is the process that forks; `Forker` talks to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

import control_plane.cli.local.agent
import control_plane.cli.local.retention
import control_plane.cli.local.system
import control_plane.cli.rule_case_results  # noqa: F401 - loaded once, for all that are forked
from control_plane.cli import client, main
from control_plane.cli.local import bootstrap

TREE = Path(__file__).parents[2]
TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Run:
    """A command to run, and where."""

    arguments: list[str]
    cwd: str
    environment: dict[str, str] = field(default_factory=dict)
    stdout: str = os.devnull
    """A file; empty: it is closed."""
    stderr: str = os.devnull
    without_capabilities: bool = False
    """Whether the rights of files hold for it even if root runs the tests."""
    remove_cwd: bool = False
    answer_s: float = client.ANSWER_S


class Forker:
    """The process that forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Forker]:
        """Run it until the block is left."""
        command = [sys.executable, "-m", "tests.cli.command_forker"]
        with subprocess.Popen(
            command, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    def __call__(self, run: Run) -> int:
        """Run a command; return its exit status, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(run)), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def _become(run: dict[str, Any]) -> None:
    """Take a run's place: its environment, streams, directory and user."""
    os.environ.clear()
    os.environ.update(run["environment"])
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.close(number)
        if run[name]:
            file = os.open(run[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            # The lowest free number is another one if stdout is closed.
            if file != number:
                os.dup2(file, number)
                os.close(file)
        stream = open(number, "w", encoding=encoding, closefd=False) if run[name] else None  # noqa: SIM115
        setattr(sys, name, stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(run["cwd"])
    if run["remove_cwd"]:
        Path(run["cwd"]).rmdir()
    if run["without_capabilities"]:
        _drop_capabilities()


def _drop_capabilities() -> None:
    """Give up what lets root pass over the rights of files; see capset(2)."""
    version, this_process = 0x20080522, 0
    header = (ctypes.c_uint32 * 2)(version, this_process)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _run(run: dict[str, Any]) -> None:
    """Run a command as this process, and end it."""
    _become(run)
    client.ANSWER_S = run["answer_s"]
    sys.argv = ["cellway", *run["arguments"]]
    signal.alarm(TIMEOUT_S)
    status = 70
    try:
        main.main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 70
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def serve() -> None:
    """Fork a process for each line of stdin; answer with its status."""
    # What each command would do anew, and what the protobuf messages of a bootstrap load.
    main.app = typer.main.get_command(main.app)  # type: ignore[assignment]
    bootstrap.bootstrap(
        node_id="n",
        group="g",
        xds=("h", 1),
        admin="a",
        stats_port=None,
        module="",
        delta=True,
        tls_files=None,
        tls_server_name="",
    )
    "x".encode("idna")
    # A collection in a child would copy every page.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
