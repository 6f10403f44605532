"""Two machines for tests: network namespaces that are joined by a cable (a veth pair).

They need no privilege, where the kernel lets users make namespaces. The files of both are those of
the test, and their processes end with the block.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.support.conditions import wait_until

TOOLS = ("unshare", "nsenter", "ip")
_IDLE = ("sleep", "infinity")
_ROOM = ("--user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--map-root-user")
_DONE = "\x1edone\x1e"


def why_none(*tools: str) -> str | None:
    """Return why there can't be such machines here; None if there can."""
    for tool in (*TOOLS, *tools):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    tried = subprocess.run(["unshare", *_ROOM, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() or None


class Host:
    """One machine, with a shell that goes on from block to block."""

    def __init__(self, pid: int, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self._pid = pid
        inside = _enter(pid, "--mount", "--pid")
        self._shell = subprocess.Popen(
            [*inside, "sh", "-c", 'cd "$1" && exec sh -eu', "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def follow(self, block: str) -> str:
        """Run a block of commands; return what they print. One that fails is an error."""
        to, out = self._streams()
        to.write(f"{block}\necho {_DONE}\n")
        to.flush()
        printed = ""
        for line in out:
            if line.rstrip("\n").endswith(_DONE):
                return printed + line.rstrip("\n").removesuffix(_DONE)
            printed += line
        raise AssertionError(f"{block}\n{printed}")

    def network(self, *words: str) -> None:
        """Run ``ip`` with some arguments."""
        subprocess.run([*_enter(self._pid), "ip", *words], check=True, timeout=20)

    def close(self) -> None:
        """End the shell; what it has started goes on."""
        for stream in self._streams():
            stream.close()
        self._shell.kill()
        self._shell.wait()

    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        return self._shell.stdin, self._shell.stdout


@contextlib.contextmanager
def two_hosts(
    directories: tuple[Path, Path], addresses: tuple[str, str], environment: dict[str, str]
) -> Iterator[tuple[Host, Host]]:
    """Run two machines, each with an address of the same network and a directory of its own."""
    with contextlib.ExitStack() as stack:
        first = _child(stack, ["unshare", *_ROOM, "--kill-child", *_IDLE])
        inside = _enter(first, "--mount", "--pid")
        second = _child(stack, [*inside, "unshare", "--net", *_IDLE])
        hosts = [
            stack.enter_context(contextlib.closing(Host(pid, directory, environment)))
            for pid, directory in zip((first, second), directories, strict=True)
        ]
        cable = ("link", "add", "cable", "type", "veth", "peer", "name", "cable")
        hosts[0].network(*cable, "netns", str(second))
        for host, address in zip(hosts, addresses, strict=True):
            host.network("link", "set", "lo", "up")
            host.network("address", "add", f"{address}/24", "dev", "cable")
            host.network("link", "set", "cable", "up")
        yield hosts[0], hosts[1]


def _enter(pid: int, *more: str) -> list[str]:
    return ["nsenter", "--target", str(pid), "--user", "--net", *more, "--preserve-credentials"]


def _child(stack: contextlib.ExitStack, command: list[str]) -> int:
    """Run a program that has one child, until the stack is left; return the child's process id."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def is_there() -> bool:
        pids = children.read_text().split()
        return bool(pids) and Path(f"/proc/{pids[0]}/comm").read_text().strip() == _IDLE[0]

    wait_until(is_there)
    return int(children.read_text())
