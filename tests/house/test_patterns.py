"""No pattern of ours takes long over any text: Python's ``re`` backtracks, and strangers send texts.

Each pattern that a module compiles is attacked where it could go wrong. For every repetition in it,
a text is made that comes to the repetition, stays in it as long as is wished, and then can't match.
The time that takes may grow with the text's length, and no faster: over eight times the length, it
may be some eight times as much. An exponential pattern would never end at all, so lengths begin with a few characters.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from re import _constants as op
from re import _parser as parser
from typing import Any

import pytest

import control_plane

SHORT = range(4, 33, 4)
"""Repetitions at which an exponential pattern takes seconds and a linear one microseconds."""
LONG = (2**8, 2**10, 2**12)
LONGER = 8
"""Times as long is the text that is compared."""
SLOW_S = 0.05
NOT_MEASURED_S = 0.01
"""What is quicker tells nothing on a busy machine."""
GROWTH = 24.0
"""Linear time grows by 8, quadratic time by 64."""
SEARCHES = ("search", "sub", "finditer", "findall", "split")
SKIPPED = ("control_plane.topology.migrations", "control_plane.grpc_api.generated")
TAILS = ("\0", "/", "é", "\n", "")


def patterns() -> dict[str, tuple[re.Pattern[Any], tuple[str, ...]]]:
    """Return every pattern that is a constant of a module, with the methods to attack."""
    found: dict[str, tuple[re.Pattern[Any], tuple[str, ...]]] = {}
    for info in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
        if info.name.startswith(SKIPPED) or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        source = inspect.getsource(module)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and f"\n{name} = re.compile(" in source:
                used = [one for one in SEARCHES if re.search(rf"\b{name}\.{one}\(", source)]
                found[f"{info.name}.{name}"] = value, ("match", "fullmatch", *used)
    return found


def attacks(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Yield functions that make a text with so many repetitions."""
    raw = isinstance(pattern.pattern, bytes)
    text = pattern.pattern.decode("latin-1") if raw else pattern.pattern
    units = {("", "a"), ("", "0"), ("", "/"), ("", " "), ("", "a."), ("", "-a")}
    for before, repeated in repetitions(parser.parse(text, pattern.flags & ~re.UNICODE), ""):
        units |= {(before, repeated), (before, repeated * 2 + "a"), ("", repeated)}
    for before, repeated in sorted(units):
        if repeated:
            for tail in TAILS:

                def make(count: int, parts: tuple[str, str, str] = (before, repeated, tail)) -> Any:
                    made = parts[0] + parts[1] * count + parts[2]
                    return made.encode("latin-1", "replace") if raw else made

                yield make


def repetitions(tree: Any, before: str) -> Iterator[tuple[str, str]]:
    """Yield, for each repetition, a text that comes to it and one that it takes."""
    for code, value in tree:
        inner = [value[2]] if code in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT} else []
        if inner and value[1] > 1:
            yield before, witness(inner[0])
        if code is op.SUBPATTERN:
            inner = [value[-1]]
        elif code is op.BRANCH:
            inner = value[1]
        for one in inner:
            yield from repetitions(one, before)
        before += witness([(code, value)])


def witness(tree: Any) -> str:
    """Return a text that a part of a pattern takes; "" for what takes none."""
    return "".join(taken(code, value) for code, value in tree)


def taken(code: Any, value: Any) -> str:
    if code is op.LITERAL:
        return chr(value)
    if code is op.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if code is op.ANY:
        return "a"
    if code is op.IN:
        characters = "a0A-/. ~" + "".join(map(chr, range(256)))
        return next((one for one in characters if is_in(value, one)), "")
    if code is op.SUBPATTERN:
        return witness(value[-1])
    if code is op.BRANCH:
        return witness(value[1][0])
    if code in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
        return witness(value[2]) * max(1, int(value[0]))
    return ""


SETS = {op.CATEGORY_WORD: "a0", op.CATEGORY_DIGIT: "0", op.CATEGORY_SPACE: " "}


def is_in(members: Any, char: str) -> bool:
    """Return whether a class has a character."""
    negated = any(code is op.NEGATE for code, _ in members)
    listed = any(
        (code is op.LITERAL and value == ord(char))
        or (code is op.RANGE and value[0] <= ord(char) <= value[1])
        or (code is op.CATEGORY and char in SETS.get(value, ""))
        for code, value in members
    )
    return listed is not negated


def took(attack: Callable[[Any], object], text: Any, tries: int = 1) -> float:
    """Return the processor time of an attack in seconds, the least of some tries."""
    times = []
    for _ in range(tries):
        before = time.thread_time()
        attack(text)
        times.append(time.thread_time() - before)
    return min(times)


def trouble(pattern: re.Pattern[Any], methods: tuple[str, ...]) -> str | None:
    """Return how a pattern's time grows too fast; None if it does not."""
    for method in methods:
        call = getattr(pattern, method)

        def attack(text: Any, call: Any = call, method: str = method) -> object:
            found = (
                call(b"" if isinstance(text, bytes) else "", text)
                if method == "sub"
                else call(text)
            )
            return list(found) if method == "finditer" else found

        for make in attacks(pattern):
            for count in SHORT:
                if took(attack, make(count)) > SLOW_S and took(attack, make(count), 3) > SLOW_S:
                    return f"{method} takes too long over {make(count)!r}"
            for count in LONG:
                longer = took(attack, make(LONGER * count))
                if longer < NOT_MEASURED_S:
                    continue
                if all(
                    took(attack, make(LONGER * count), 3) > GROWTH * took(attack, make(count), 3)
                    for _ in range(3)
                ):
                    return f"{method} takes {longer:.3f} s over {make(LONGER * count)[:40]!r}…"
    return None


CONSTANTS = patterns()


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_time_grows_with_the_length_of_a_text_and_no_faster(name: str) -> None:
    assert trouble(*CONSTANTS[name]) is None


def test_there_are_patterns() -> None:
    assert len(CONSTANTS) > 30


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        # A cell's address was once read by this: 51 characters took minutes.
        (r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.?)+\Z", "match"),
        (r"(?:a|a)*b", "match"),
        (r"x[a-z]*[a-z]*[0-9]\Z", "match"),
        (r"\s+\Z", "search"),
    ],
)
def test_patterns_that_backtrack_are_seen(pattern: str, method: str) -> None:
    assert trouble(re.compile(pattern), (method,)) is not None
