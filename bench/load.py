"""Sends bounded HTTP load on loopback: by wrk if it is installed, else by a small client here."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16
MAX_SECONDS = 30.0
MOST_FAILED = 0.5
"""The largest share of failed requests with which a figure still says something."""
RETRY_S = 0.01
"""The pause after a connection was lost."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: to ``port``, each path of ``paths`` in turn, with these headers."""

    port: int
    paths: tuple[str, ...] = ("/",)
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a load. On a busy machine some requests fail, and then less came."""

    per_second: float
    """Answers of 2xx per second."""
    failed: float
    """The share of requests that got another answer, or none."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests of a load got 2xx, and how many did not."""

    good: int
    bad: int
    seconds: float
    """How long it took: longer than asked for, if nothing came back before."""


def send(load: Load, seconds: float) -> Sent:
    """Send for some seconds; raise what `count` raises."""
    counts = count(load, seconds)
    return Sent(counts.good / counts.seconds, counts.bad / (counts.good + counts.bad))


def count(load: Load, seconds: float) -> Counts:
    """Send for some seconds, and count. While nothing comes back, go on for up to `MAX_SECONDS`.

    Raises:
        RuntimeError: Most requests failed, so that a figure would say nothing.
    """
    seconds = min(seconds, MAX_SECONDS)
    good, bad, took, example = 0, 0, 0.0, "no answer came"
    while good == 0 and took < MAX_SECONDS:
        more, failed, example = (
            _wrk(load, seconds) if shutil.which("wrk") else asyncio.run(_own(load, seconds))
        )
        good, bad, took = good + more, bad + failed, took + seconds
    if good == 0 or bad / (good + bad) > MOST_FAILED:
        raise RuntimeError(f"{bad} of {good + bad} requests failed: {example}")
    return Counts(good, bad, took)


def _wrk(load: Load, seconds: float) -> tuple[int, int, str]:
    """Return how many requests got 2xx and how many did not, and what wrk says."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("local paths = {")
        script.write(",".join(f'"{path}"' for path in load.paths))
        script.write("}\nlocal at, requests = 0, {}\n")
        # Each request is made once: on few cores, what the client costs lowers what it measures.
        script.write("init = function()\n")
        script.write("  for i, path in ipairs(paths) do requests[i] = wrk.format(nil, path) end\n")
        script.write("end\nrequest = function()\n  at = at % #requests + 1\n")
        script.write("  return requests[at]\nend\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        if len(load.paths) > 1:
            command += ["-s", script.name]
        for name, value in load.headers:
            command += ["-H", f"{name}: {value}"]
        path = load.paths[0] if len(load.paths) == 1 else "/"
        command.append(f"http://127.0.0.1:{load.port}{path}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    out = done.stdout + done.stderr
    if done.returncode:
        time.sleep(seconds)  # as long as a round that says nothing
        return 0, 0, out  # nothing listens yet, or no longer
    answered = re.search(r"(\d+) requests in", out)
    if answered is None:
        raise RuntimeError(f"wrk said nothing of requests:\n{out}")
    bad = answers_but_2xx(out)
    return int(answered[1]) - bad, bad + lost_requests(out), out


def answers_but_2xx(out: str) -> int:
    """Return how many answers wrk has counted that were not 2xx or 3xx."""
    said = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return int(said[1]) if said else 0


def lost_requests(out: str) -> int:
    """Return how many requests wrk has counted that got no answer."""
    said = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return sum(map(int, said.groups())) if said else 0


async def _own(load: Load, seconds: float) -> tuple[int, int, str]:
    deadline = time.perf_counter() + seconds
    clients = [_Client(load, offset) for offset in range(CONNECTIONS)]
    await asyncio.gather(*(client.run(deadline) for client in clients))
    examples = [client.example for client in clients if client.example]
    return (
        sum(client.good for client in clients),
        sum(client.bad for client in clients),
        examples[0] if examples else "",
    )


class _Client:
    """One connection; a lost one is opened anew."""

    def __init__(self, load: Load, offset: int) -> None:
        self._port = load.port
        extra = "".join(f"{name}: {value}\r\n" for name, value in load.headers)
        self._requests = [
            f"GET {path} HTTP/1.1\r\nhost: bench\r\n{extra}\r\n".encode() for path in load.paths
        ]
        self._offset = offset
        self.good = 0
        self.bad = 0
        self.example = ""
        """What the last request that failed got."""

    async def run(self, deadline: float) -> None:
        """Send until a moment of `time.perf_counter`."""
        while time.perf_counter() < deadline:
            try:
                await self._connection(deadline)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.bad += 1
                self.example = repr(error)
                await asyncio.sleep(RETRY_S)

    async def _connection(self, deadline: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.closing(writer):
            while time.perf_counter() < deadline:
                at = (self.good + self.bad) * CONNECTIONS + self._offset
                writer.write(self._requests[at % len(self._requests)])
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"HTTP/1.1 2"):
                    self.good += 1
                else:
                    self.bad += 1
                    self.example = repr(head[:200])


def scratch() -> Path:
    """Create a directory for a benchmark's files."""
    return Path(tempfile.mkdtemp(prefix="cellway-bench-"))
