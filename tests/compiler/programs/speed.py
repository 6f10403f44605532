"""Prints what one decision costs, by rule: ``python -m tests.compiler.programs.speed``.

These are nanoseconds of this process for plain requests of each rule, the host's own look-ups among
them. Envoy's callbacks and the real table of owners cost more than that; ``make bench`` measures
the whole edge.
"""

from __future__ import annotations

import time

from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs.comparison import Comparison, some_cells, some_owners
from tests.compiler.programs.module_host import pack
from tests.compiler.programs.requests import RequestMaker, is_plain

REQUESTS, ROUNDS, TRIES = 200, 100, 5


def main() -> None:
    """Measure every rule of the shipped rulesets."""
    for name in ("gitlab", "generic", "session_prefix"):
        ruleset = parse((RULESETS / f"{name}.json").read_text())
        comparison = Comparison(ruleset, some_cells(), some_owners(ruleset, 1))
        maker = RequestMaker(1)
        for rule in ruleset.rules:
            made = (maker.plain(rule) for _ in range(REQUESTS))
            requests = [pack(fields) for fields in made if is_plain(fields)]
            packed = b"".join(requests) * ROUNDS
            count = len(requests) * ROUNDS
            best = min(_seconds(comparison, packed, count) for _ in range(TRIES))
            print(f"{name:15} {rule.id:28} {best / count * 1e9:6.0f} ns")


def _seconds(comparison: Comparison, packed: bytes, count: int) -> float:
    start = time.process_time()
    comparison.decide_packed(packed, count)
    return time.process_time() - start


if __name__ == "__main__":
    main()
