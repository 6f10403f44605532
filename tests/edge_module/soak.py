"""The module's long tests, with sanitizers: ``python -m tests.edge_module.soak --minutes 2``.

A quarter of the time each: many readers and a writer under ThreadSanitizer, the same under
AddressSanitizer, random frames against the reference, and damaged bytes (`fuzz.py`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from control_plane.edge_module.compilers import Kind, Sanitizer, compiler
from tests.edge_module.fuzz import run as run_fuzz
from tests.edge_module.native import compiled

READERS = "16"


def main() -> int:
    """Run all four; the first that fails ends the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2)
    minutes = parser.parse_args().minutes / 4
    with tempfile.TemporaryDirectory() as folder:
        for sanitizer in Sanitizer:
            stress = compiled("stress", Path(folder), sanitizer)
            subprocess.run([stress, str(60 * minutes), READERS], check=True)
    asan = [*compiler(Kind()), "-print-file-name=libasan.so"]
    preload = subprocess.run(asan, capture_output=True, text=True, check=True).stdout.strip()
    fuzz = [sys.executable, "-m", "tests.edge_module.stream_fuzz", "--minutes", str(minutes)]
    # Python itself frees nothing at its end, so leaks are looked for in the programs above.
    environment = os.environ | {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run([*fuzz, "--sanitize", Sanitizer.MEMORY], env=environment, check=True)
    return run_fuzz(minutes)


if __name__ == "__main__":
    sys.exit(main())
