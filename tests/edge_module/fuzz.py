"""Damaged bytes of the owners' stream, and damaged texts, under sanitizers.

With clang it is libFuzzer that chooses the damage, by what the code has not been through yet:
``python -m tests.edge_module.fuzz --minutes 2``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane.edge_module.build import SOURCES, sources_of
from control_plane.edge_module.compilers import Kind
from tests.edge_module import wire
from tests.edge_module.names import KEY, key_id, name_hash

SOURCE = Path(__file__).with_name("fuzz_stream.c")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-fno-sanitize-recover=all")
ROUNDS = 50_000
"""Inputs of a minute without libFuzzer."""


def write_inputs(folder: Path) -> list[Path]:
    """Write talks and texts that are right."""
    acme, table = name_hash("acme"), 77
    owners = [(acme, 7), (acme + 1, wire.ASK_CELL), (acme + 2, 8)]
    whole = [wire.begin(5, table, key_id(), 3), wire.base(5, table, owners), wire.beat(5, table)]
    many = [(acme * number % 2**64, number) for number in range(1, 900)]
    large = [wire.begin(6, 78, key_id()), wire.base(6, 78, many, 0), wire.base(6, 78, owners)]
    later = [wire.changes(7, 78, [(acme, 0)]), wire.beat(7, 78, 400, wire.CUT_OFF)]
    talks = [b"".join(map(wire.grpc, talk)) for talk in (whole, [*whole, *large, *later], later)]
    inputs = [bytes((how,)) + talk for how in range(8) for talk in talks]
    inputs += [b"\x10" + text for text in (b"7;3:8,200:9", b"0;", b"off", b"7;255:18446744073709")]
    inputs.append(b"\x20" + f"key={KEY.hex()}\ncluster=xds\nnode=edge-1\nmore\n".encode())
    paths = [folder / str(number) for number in range(len(inputs))]
    for path, data in zip(paths, inputs, strict=True):
        path.write_bytes(data)
    return paths


def compiled(compiler: str, folder: Path, *flags: str) -> Path:
    """Return the program, with sanitizers."""
    made = folder / "fuzz_stream"
    sources = [str(path) for path in (SOURCE, *sources_of(Kind(library=True)))]
    arguments = [*FLAGS, *flags, f"-I{SOURCES}", "-o", str(made), *sources]
    subprocess.run([compiler, *arguments], check=True)
    return made


def run(minutes: float) -> int:
    """Run for so long; return the exit status, which is 0 if nothing was found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inputs").mkdir()
        paths = write_inputs(folder / "inputs")
        if shutil.which("clang"):
            program = compiled("clang", folder, "-fsanitize=fuzzer,address,undefined")
            limits = [f"-max_total_time={int(60 * minutes)}", "-max_len=65536", "-verbosity=0"]
            limits += ["-print_final_stats=1", f"-artifact_prefix={Path.cwd()}/"]
            command = [str(program), *limits, str(folder / "inputs")]
            return subprocess.run(command, check=False).returncode
        program = compiled("cc", folder, "-fsanitize=address,undefined", "-DFUZZ_MAIN")
        command = [str(program), "1", str(int(minutes * 60 * ROUNDS)), *map(str, paths)]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2)
    return run(parser.parse_args().minutes)


if __name__ == "__main__":
    sys.exit(main())
