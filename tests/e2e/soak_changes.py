"""``make soak``, second part: random sequences of changes for a number of minutes.

The exit status is 0 only if after every change the real Envoy ran what the control plane said, and
every answer came from the cell that the evaluator names.
"""

from __future__ import annotations

import argparse
import itertools
import time

from tests.e2e.change_worlds import VARIANTS, play_many

EXAMPLES = 8
"""Sequences for each system that is started."""


def main() -> None:
    """``python -m tests.e2e.soak_changes [--minutes N]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    end = time.monotonic() + parser.parse_args().minutes * 60
    for variant in itertools.cycle(VARIANTS.values()):
        print(play_many(variant, examples=EXAMPLES, derandomize=False), flush=True)
        if time.monotonic() > end:
            return


if __name__ == "__main__":
    main()
