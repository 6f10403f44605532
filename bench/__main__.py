"""``make bench``: all benchmarks. One that fails is named at the end, and the others still run.

Each is a process of its own, which reports as soon as it has a figure. So whatever becomes of one
of them (an exception, a hang, a lack of memory) takes no figure of the others.

    python -m bench [NAME ...]      # all, or these
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

BENCHMARKS: Mapping[str, Sequence[str]] = {
    "data_plane": (),
    "propagation": (),
    "moves": (),
    "classify": (),
    "classifier": (),
    "claims": (),
    "claim_load": (),
    "imports": ("--rounds", "2"),
    "compile": (),
    "simulate": (),
    "memory": (),
    "fleet": (),
    "edge_map": (),
    "map_changes": (),
    "go_peer": (),
    "owners": (),
}
"""The arguments of each module."""
LONGEST_S = 1800.0
"""A benchmark that takes longer is ended: on a quiet machine the longest takes five minutes."""


def run(
    benchmarks: Mapping[str, Sequence[str]], package: str = "bench", longest_s: float = LONGEST_S
) -> dict[str, str]:
    """Run benchmarks one after another.

    Args:
        benchmarks: The arguments of each module.
        package: Where the modules are.
        longest_s: How long one may take.

    Returns:
        Why each of those that failed did.
    """
    failed: dict[str, str] = {}
    for name, arguments in benchmarks.items():
        print(f"— {name}", flush=True)
        command = [sys.executable, "-m", f"{package}.{name}", *arguments]
        # A group of its own: what a benchmark has started ends with it.
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                if code := process.wait(longest_s):
                    failed[name] = f"exit status {code}"
            except subprocess.TimeoutExpired:
                failed[name] = f"not done after {longest_s:g} s"
            finally:
                _end(process)
    return failed


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a benchmark, itself included."""
    try:
        os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
        process.wait(10)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def chosen(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the benchmarks of these names, all if there are none.

    Raises:
        SystemExit: there is no such benchmark.
    """
    if unknown := set(names) - BENCHMARKS.keys():
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    return {name: BENCHMARKS[name] for name in names} if names else BENCHMARKS


if __name__ == "__main__":
    try:
        failures = run(chosen(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    if failures:
        told = "; ".join(f"{name} ({why})" for name, why in failures.items())
        sys.exit(f"these benchmarks failed, all others have reported: {told}")
