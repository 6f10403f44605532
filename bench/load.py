"""Sends bounded HTTP load on loopback: by wrk if it is installed, else by a small client here."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16
MAX_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: to ``port``, each path of ``paths`` in turn, with these headers."""

    port: int
    paths: tuple[str, ...] = ("/",)
    headers: tuple[tuple[str, str], ...] = ()


def requests_per_second(load: Load, seconds: float) -> float:
    """Send for some seconds; return requests per second, or raise if an answer was not 2xx."""
    seconds = min(seconds, MAX_SECONDS)
    if shutil.which("wrk"):
        return _wrk(load, seconds)
    return asyncio.run(_own(load, seconds))


def _wrk(load: Load, seconds: float) -> float:
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
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(f"some answers were not 2xx:\n{out}")
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", out)
    if rate is None:
        raise RuntimeError(f"wrk said nothing of requests per second:\n{out}")
    return float(rate[1])


async def _own(load: Load, seconds: float) -> float:
    deadline = time.perf_counter() + seconds
    counts = await asyncio.gather(
        *(_connection(load, deadline, offset) for offset in range(CONNECTIONS))
    )
    return sum(counts) / seconds


async def _connection(load: Load, deadline: float, offset: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
    extra = "".join(f"{name}: {value}\r\n" for name, value in load.headers)
    requests = [
        f"GET {path} HTTP/1.1\r\nhost: bench\r\n{extra}\r\n".encode() for path in load.paths
    ]
    done = 0
    try:
        while time.perf_counter() < deadline:
            writer.write(requests[(done * CONNECTIONS + offset) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(f"not 2xx: {head[:200]!r}")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            done += 1
    finally:
        writer.close()
    return done


def scratch() -> Path:
    """Create a directory for a benchmark's files."""
    return Path(tempfile.mkdtemp(prefix="cellway-bench-"))
