"""Compares automata with RE2 on random regexes and texts.

``python -m tests.compiler.automata.differential --minutes 2`` does it for longer, and so does `soak`.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass

from control_plane.compiler.automata import compile_captures, compile_set
from tests.compiler.automata.random_regexes import RandomRegex
from tests.compiler.automata.runner import (
    CapturesRunner,
    SetRunner,
    captured_by_re2,
    captures_are_good,
    sanitized,
    set_is_good,
)

TEXTS = 15
"""For each regex."""
IN_A_SET = (1, 1, 2, 5, 9)


@dataclass(slots=True)
class Differential:
    """Counts what was compared.

    Attributes:
        set_pairs: Regexes and texts that an automaton for several regexes was run on.
        capture_pairs: Regexes and texts that captures were compared for.
        occurred: How many of the latter occurred.
        refused: Regexes that have no captures, and sets without an automaton.
    """

    set_pairs: int = 0
    capture_pairs: int = 0
    occurred: int = 0
    refused: int = 0

    def compare_for(self, choose: random.Random, pairs: int) -> None:
        """Compare until captures of so many pairs were compared."""
        while self.capture_pairs < pairs:
            self.compare(choose)

    def compare(self, choose: random.Random) -> None:
        """Compare a few random regexes with RE2, alone and as a set."""
        regexes: list[RandomRegex] = []
        texts: list[bytes] = []
        for _ in range(choose.choice(IN_A_SET)):
            one = RandomRegex(choose)
            made = [one.text() for _ in range(TEXTS)]
            regexes.append(one)
            texts += made
            self.captures_agree(one, made)
        self.sets_agree(regexes, choose.sample(texts, min(len(texts), TEXTS)))

    def captures_agree(self, one: RandomRegex, texts: list[bytes]) -> None:
        """Compare what a regex captures, if it has an automaton for that."""
        regex = one.regex
        captures = compile_captures(regex.pattern, regex.groups)
        if captures is None:
            self.refused += 1
            return
        assert captures_are_good(captures.code), regex
        runner = CapturesRunner(captures.code, captures.groups)
        for text in texts:
            expected = captured_by_re2(regex, text)
            assert runner.captured(text) == expected, (regex, text, expected)
            self.capture_pairs += 1
            self.occurred += expected is not None

    def sets_agree(self, regexes: list[RandomRegex], texts: list[bytes]) -> None:
        """Compare which regexes of a set occur in texts."""
        compiled = compile_set([one.regex.pattern for one in regexes])
        if compiled is None:
            self.refused += 1
            return
        assert set_is_good(compiled.code), regexes
        runner = SetRunner(compiled.code)
        for text in texts:
            expected = {at for at, one in enumerate(regexes) if one.regex.matches(text)}
            assert runner.occur(text) == expected, (regexes, text, expected)
            self.set_pairs += len(regexes)


def main() -> None:
    """``python -m tests.compiler.automata.differential [--minutes N] [--seed N]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    print(f"--seed {options.seed}, {'' if sanitized() else 'not '}sanitized", flush=True)
    choose = random.Random(options.seed)
    end = time.monotonic() + options.minutes * 60
    done = Differential()
    while time.monotonic() < end:
        done.compare(choose)
    print(done)


if __name__ == "__main__":
    main()
