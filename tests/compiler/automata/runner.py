"""Runs automata in C (`envoy/module/automaton.c`), and asks RE2 the same."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from control_plane.edge_module.library import load
from control_plane.routing.rules.regex import Regex

SET_WORDS, CAPTURED = 16, 32
"""`CW_SET_WORDS` and `CW_CAPTURES_GROUPS`."""
_UNTOUCHED = 0x5A5A5A5A
Spans = dict[str, tuple[int, int]]


@cache
def library() -> ctypes.CDLL:
    """Return the C functions, with the types of their arguments."""
    made = load()
    code, text, size = ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t
    made.cw_set_check.argtypes = made.cw_captures_check.argtypes = [ctypes.c_void_p, size]
    made.cw_set_words.argtypes = made.cw_captures_groups.argtypes = [code]
    made.cw_set_words.restype = made.cw_captures_groups.restype = size
    made.cw_set_run.argtypes = [code, text, size, ctypes.POINTER(ctypes.c_uint64)]
    made.cw_set_run.restype = None
    made.cw_captures_run.argtypes = [code, text, size, ctypes.POINTER(ctypes.c_int32)]
    return made


def exactly(content: bytes) -> ctypes.Array[ctypes.c_char]:
    """Return bytes in memory that ends with them, so that a sanitizer sees who reads on."""
    return (ctypes.c_char * len(content)).from_buffer_copy(content)


def set_is_good(code: bytes) -> bool:
    """Return what `cw_set_check` says."""
    return bool(library().cw_set_check(exactly(code), len(code)))


def captures_are_good(code: bytes) -> bool:
    """Return what `cw_captures_check` says."""
    return bool(library().cw_captures_check(exactly(code), len(code)))


@dataclass(slots=True)
class SetRunner:
    """A set that passed its check."""

    code: bytes
    bits: ctypes.Array[ctypes.c_uint64] = field(
        default_factory=lambda: (ctypes.c_uint64 * (SET_WORDS + 1))()
    )

    def occur(self, text: bytes) -> set[int]:
        """Return the numbers of the regexes that occur in a text."""
        words = library().cw_set_words(self.code)
        self.bits[words] = _UNTOUCHED
        library().cw_set_run(self.code, text, len(text), self.bits)
        assert self.bits[words] == _UNTOUCHED
        whole = sum(self.bits[word] << 64 * word for word in range(words))
        return {number for number in range(64 * words) if whole >> number & 1}


@dataclass(slots=True)
class CapturesRunner:
    """Captures that passed their check."""

    code: bytes
    groups: Sequence[str]
    spans: ctypes.Array[ctypes.c_int32] = field(
        default_factory=lambda: (ctypes.c_int32 * (2 * CAPTURED + 1))()
    )

    def captured(self, text: bytes) -> Spans | None:
        """Return where groups stand that took part in the match; None if the regex does not occur."""
        told = 2 * len(self.groups)
        self.spans[told] = _UNTOUCHED
        occurs = library().cw_captures_run(self.code, text, len(text), self.spans)
        assert self.spans[told] == _UNTOUCHED
        if not occurs:
            assert self.spans[:told] == [-1] * told
            return None
        pairs = [(self.spans[2 * at], self.spans[2 * at + 1]) for at in range(len(self.groups))]
        return {name: pair for name, pair in zip(self.groups, pairs, strict=True) if pair[0] >= 0}


def captured_by_re2(regex: Regex, text: bytes) -> Spans | None:
    """Return what `CapturesRunner.captured` has to return."""
    return regex.spans(text) if regex.matches(text) else None
