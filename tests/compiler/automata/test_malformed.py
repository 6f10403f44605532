"""Code that is not the compiler's is refused, or runs within its bounds."""

from __future__ import annotations

import ctypes
import random

import pytest

from control_plane.compiler.automata import compile_captures, compile_set
from tests.compiler.automata.malformed import Malformed, valid_captures, valid_sets
from tests.compiler.automata.runner import (
    captures_are_good,
    exactly,
    library,
    set_is_good,
)

ROUNDS = 3_000


def test_code_changed_at_random_is_refused_or_runs() -> None:
    done = Malformed(random.Random(9))
    for _ in range(ROUNDS):
        done.try_a_set()
        done.try_captures()
    assert min(done.accepted, done.refused) > ROUNDS / 10


def test_half_a_code_is_refused() -> None:
    for code in valid_sets():
        assert set_is_good(code)
        assert not any(set_is_good(code[:end]) for end in range(0, len(code), 97))
        assert not set_is_good(code + b"\0")
    for code, _ in valid_captures():
        assert captures_are_good(code)
        assert not any(captures_are_good(code[:end]) for end in range(0, len(code), 97))
        assert not captures_are_good(code + b"\0")


def test_one_kind_of_code_is_not_taken_for_the_other() -> None:
    assert not any(captures_are_good(code) for code in valid_sets())
    assert not any(set_is_good(code) for code, _ in valid_captures())


@pytest.mark.parametrize(
    ("at", "values"),
    [(0, b"X"), (8, b"\xff\xff"), (10, b"\x02\x00"), (10, b"\xff\xff"), (12, b"\x02\x00")],
)
def test_a_set_with_a_wrong_header_is_refused(at: int, values: bytes) -> None:
    made = compile_set(["^a", "b"])
    assert made is not None
    assert not set_is_good(made.code[:at] + values + made.code[at + len(values) :])


@pytest.mark.parametrize(
    ("at", "values"),
    [
        (0, b"X"),
        (8, b"\xff\xff\xff\xff"),
        (12, b"\xff\xff\xff\xff"),
        (16, b"\x00\x00"),
        (18, b"\x00\x00"),
        (20, b"\xff\xff"),
        (22, b"\x00\x00"),
        (24, b"\xff"),
        (25, b"\xff"),
        (25, b"\x00"),
        (28, b"\xff"),
    ],
)
def test_captures_with_a_wrong_header_are_refused(at: int, values: bytes) -> None:
    made = compile_captures("^(?<k>a)b", ["k"])
    assert made is not None
    assert not captures_are_good(made.code[:at] + values + made.code[at + len(values) :])


def test_nothing_is_told_of_a_text_that_is_too_long() -> None:
    made = compile_captures("^(?<k>a)b", ["k"])
    assert made is not None
    spans = (ctypes.c_int32 * 2)()
    assert library().cw_captures_run(exactly(made.code), exactly(b"ab"), 1 << 31, spans) == -1
    assert list(spans) == [-1, -1]


def test_a_text_without_bytes_may_be_nowhere() -> None:
    captures, matches = compile_captures("^$", []), compile_set(["^$"])
    assert captures is not None
    assert matches is not None
    bits = (ctypes.c_uint64 * 1)()
    assert library().cw_captures_run(exactly(captures.code), None, 0, None) == 1
    library().cw_set_run(exactly(matches.code), None, 0, bits)
    assert bits[0] == 1
