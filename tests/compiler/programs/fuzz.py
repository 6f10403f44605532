"""Loads damaged programs into the module under sanitizers, and decides damaged requests by them.

``make soak`` runs this for minutes: ``python -m tests.compiler.programs.fuzz --minutes 2``. With clang
it is libFuzzer that chooses the damage, by what the code has not been through yet.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from control_plane.compiler.programs import RulesetProgram
from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs.comparison import some_cells
from tests.compiler.programs.module_host import compiled, pack
from tests.compiler.programs.random_rulesets import random_ruleset
from tests.compiler.programs.requests import RequestMaker

SOURCE = Path(__file__).with_name("fuzz_programs.c")
_SANITIZE = ("-g", "-O1", "-fno-sanitize-recover=all")
ROUNDS = 200
"""Inputs that are read in one run; each is changed 200 times."""


def write_inputs(folder: Path, *, rulesets: int = 30) -> list[Path]:
    """Write programs of shipped and random rulesets, each with a request for one of its rules."""
    documents = [
        parse((RULESETS / f"{name}.json").read_text()) for name in ("generic", "session_prefix")
    ]
    documents += [parse(random_ruleset(random.Random(seed))) for seed in range(rulesets)]
    written: list[Path] = []
    for number, ruleset in enumerate(documents):
        code = RulesetProgram.of(ruleset).program(some_cells()).code
        maker = RequestMaker(number)
        for rule in ruleset.rules:
            path = folder / f"{number}-{rule.id}"
            path.write_bytes(len(code).to_bytes(4, "little") + code + pack(maker.plain(rule)))
            written.append(path)
    return written


def run(inputs: list[Path], seed: int, rounds: int = ROUNDS) -> subprocess.CompletedProcess[str]:
    """Change the inputs and run them; the exit status is 0 if no sanitizer has anything to say."""
    flags = (*_SANITIZE, "-fsanitize=address,undefined", "-DFUZZ_MAIN")
    program = compiled(SOURCE, flags)
    command = [str(program), str(seed), str(rounds), *map(str, inputs)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_libfuzzer(inputs: Path, seconds: int) -> int:
    """Let libFuzzer change the inputs; return its exit status."""
    flags = (*_SANITIZE, "-fsanitize=fuzzer,address,undefined")
    program = compiled(SOURCE, flags, ("clang",))
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=65536",
        "-verbosity=1",
        "-print_final_stats=1",
    ]
    return subprocess.run([str(program), *limits, str(inputs)], check=False).returncode


def main() -> int:
    """Run for so many minutes; the exit status is 0 if nothing was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    minutes = options.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), rulesets=200)
        if shutil.which("clang"):
            return run_libfuzzer(Path(folder), int(minutes * 60))
        end = time.monotonic() + minutes * 60
        seed = 0
        while time.monotonic() < end:
            seed += 1
            done = run(inputs, seed)
            if done.returncode:
                print(f"seed {seed}\n{done.stderr}")
                return 1
        print(f"{seed * ROUNDS * 200} inputs, and nothing found")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
