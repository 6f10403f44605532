"""Changes valid code at random: either a check refuses it, or runs of it stay within their bounds.

Nothing but a sanitizer sees a read out of bounds for sure; `soak` runs this under one.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from control_plane.compiler.automata import compile_captures, compile_set
from tests.compiler.automata.gitlab_regexes import PATHS, gitlab_regexes
from tests.compiler.automata.runner import (
    CapturesRunner,
    SetRunner,
    captures_are_good,
    sanitized,
    set_is_good,
)

_HEADER_BYTES = 32
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFD, 0xFE, 0xFF)


@cache
def valid_sets() -> tuple[bytes, ...]:
    """Return sets of one part and of several, with few and many regexes."""
    some = [[regex.pattern for regex in regexes] for regexes in gitlab_regexes().values()]
    some += [["^/a", "b$", r"\bc"], [], [f"^{number}x" for number in range(70)]]
    made = [compile_set(patterns) for patterns in some]
    return tuple(one.code for one in made if one is not None)


@cache
def valid_captures() -> tuple[tuple[bytes, tuple[str, ...]], ...]:
    """Return captures with few and many registers, and the groups of each."""
    found = [regex for regexes in gitlab_regexes().values() for regex in regexes]
    made = [compile_captures(regex.pattern, regex.groups) for regex in found]
    return tuple((one.code, one.groups) for one in made if one is not None)


@dataclass(slots=True)
class Malformed:
    """Makes malformed code and runs what passes the checks.

    Attributes:
        accepted: How many of the changed codes passed a check.
        refused: How many did not.
    """

    choose: random.Random
    accepted: int = 0
    refused: int = 0
    texts: list[bytes] = field(default_factory=lambda: [b"", bytes(range(256)), *PATHS])

    def try_a_set(self) -> None:
        """Change a set and run it if its check lets it through."""
        code = self._changed(self.choose.choice(valid_sets()))
        if self._counted(set_is_good, code):
            runner = SetRunner(code)
            for text in self._some_texts():
                runner.occur(text)

    def try_captures(self) -> None:
        """Change captures and run them if their check lets them through."""
        code, _ = self.choose.choice(valid_captures())
        code = self._changed(code)
        if self._counted(captures_are_good, code):
            runner = CapturesRunner(code)
            for text in self._some_texts():
                runner.run(text)

    def _counted(self, check: Callable[[bytes], bool], code: bytes) -> bool:
        good = check(code)
        self.accepted += good
        self.refused += not good
        return good

    def _some_texts(self) -> Sequence[bytes]:
        return self.choose.sample(self.texts, 3)

    def _changed(self, code: bytes) -> bytes:
        """Change a few bytes, most often of the header, or cut or lengthen the whole."""
        made = bytearray(code)
        for _ in range(self.choose.choice((1, 1, 2, 3))):
            within = _HEADER_BYTES if self.choose.random() < 0.4 else len(made)
            at = self.choose.randrange(min(within, len(made)))
            value = self.choose.choice((*_EDGES, made[at] ^ 1, made[at] + 1 & 0xFF))
            made[at] = value
        kind = self.choose.random()
        if kind < 0.1:
            del made[self.choose.randrange(8, len(made)) :]
        elif kind < 0.15:
            made += bytes(self.choose.randrange(1, 9))
        if kind < 0.14 and len(made) >= 8:
            made[4:8] = len(made).to_bytes(4, "little")
        return bytes(made)


def main() -> None:
    """``python -m tests.compiler.automata.malformed [--minutes N] [--seed N]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    print(f"--seed {options.seed}, {'' if sanitized() else 'not '}sanitized", flush=True)
    end = time.monotonic() + options.minutes * 60
    done = Malformed(random.Random(options.seed))
    while time.monotonic() < end:
        done.try_a_set()
        done.try_captures()
    print(f"{done.refused} refused, {done.accepted} run")


if __name__ == "__main__":
    main()
