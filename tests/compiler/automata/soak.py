"""The automata's long tests: ``python -m tests.compiler.automata.soak --minutes 2``.

Half of the time random regexes are compared with RE2, and half of it malformed code is run, both
while AddressSanitizer and UndefinedBehaviorSanitizer watch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.compiler.automata.runner import use_sanitizer


def main() -> None:
    """Run both; the first that fails ends the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    minutes = str(parser.parse_args().minutes / 2)
    for part in ("differential", "malformed"):
        command = [sys.executable, "-m", f"tests.compiler.automata.{part}", "--minutes", minutes]
        subprocess.run(command, env=use_sanitizer(), check=True)


if __name__ == "__main__":
    main()
