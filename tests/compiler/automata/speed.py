"""Sizes and speed of GitLab's automata: ``python -m tests.compiler.automata.speed``.

It prints for each part of a request how many states and bytes its set has and how long building takes,
then nanoseconds for runs in C: the least of several rounds, so caches are warm.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from control_plane.compiler.automata import compile_captures, compile_set
from control_plane.edge_module.build import SOURCES, build
from control_plane.edge_module.compilers import Kind, compiler
from control_plane.routing.rules.ruleset import Subject
from tests.compiler.automata.gitlab_regexes import PATHS, gitlab_regexes

ROUNDS, TIMES = 20_000, 7
_SOURCE = Path(__file__).parent / "speed.c"


class _Text(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_char_p), ("len", ctypes.c_size_t))


def timed(name: str) -> Callable[[bytes, Sequence[bytes]], float]:
    """Return a function that tells the nanoseconds that a function of speed.c takes for a text."""
    function = _compiled()[name]
    function.restype = ctypes.c_double

    def nanoseconds(code: bytes, texts: Sequence[bytes]) -> float:
        listed = (_Text * len(texts))(*(_Text(text, len(text)) for text in texts))
        count = ctypes.c_size_t(len(texts))
        rounds = ROUNDS // len(texts)
        return float(min(function(code, listed, count, rounds) for _ in range(TIMES)))

    return nanoseconds


def _compiled() -> ctypes.CDLL:
    kind = Kind(library=True)
    module = build(kind)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "speed.so"
        command = [*compiler(kind), *kind.flags, f"-I{SOURCES}", str(_SOURCE), str(module)]
        subprocess.run([*command, f"-Wl,-rpath,{module.parent}", "-o", str(made)], check=True)
        return ctypes.CDLL(str(made))


def _print_sets() -> None:
    for subject, regexes in gitlab_regexes().items():
        started = time.process_time()
        made = compile_set([regex.pattern for regex in regexes])
        took = time.process_time() - started
        assert made is not None
        sizes = f"{made.states} states, {len(made.code):,} bytes, built in {took:.3f} s"
        print(f"{subject:12} {len(regexes):3} regexes: {sizes}")


def _print_captures() -> None:
    found = [regex for regexes in gitlab_regexes().values() for regex in regexes if regex.groups]
    started = time.process_time()
    made = [compile_captures(regex.pattern, regex.groups) for regex in found]
    took = time.process_time() - started
    size = sum(len(one.code) for one in made if one is not None)
    print(f"captures     {len(made):3} regexes: {size:,} bytes, built in {took:.3f} s\n")


def _print_runs() -> None:
    regexes = gitlab_regexes()[Subject.PATH]
    many = compile_set([regex.pattern for regex in regexes])
    assert many is not None
    set_ns, captures_ns = timed("set_ns"), timed("captures_ns")
    print(f"{set_ns(many.code, PATHS):6.1f} ns  a path, on average, against all {len(regexes)}")
    for path in PATHS:
        regex = next((one for one in regexes if one.groups and one.matches(path)), None)
        captures = None if regex is None else compile_captures(regex.pattern, regex.groups)
        also = "" if captures is None else f"; captures {captures_ns(captures.code, [path]):.1f} ns"
        print(f"{set_ns(many.code, [path]):6.1f} ns  {path.decode()}{also}")


if __name__ == "__main__":
    _print_sets()
    _print_captures()
    _print_runs()
