"""Runs automata in C (`envoy/module/automaton.c`), and asks RE2 the same."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from functools import cache

from control_plane.edge_module.compilers import Kind, Sanitizer, compiler
from control_plane.edge_module.library import load
from control_plane.routing.rules.regex import Regex

SET_WORDS, CAPTURED = 16, 32
"""`CW_SET_WORDS` and `CW_CAPTURES_GROUPS`."""
_UNTOUCHED = 0x5A5A5A5A
_LIBRARY = "libasan.so"
Spans = dict[str, tuple[int, int]]


def sanitized() -> bool:
    """Return whether this process watches its memory."""
    return _LIBRARY in os.environ.get("LD_PRELOAD", "")


def use_sanitizer() -> dict[str, str]:
    """Return the environment of a process that watches its memory."""
    command = [*compiler(Kind()), f"-print-file-name={_LIBRARY}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    # Python's own allocator would hide where its objects end; it frees nothing when it exits.
    memory = {"PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    return os.environ | {"LD_PRELOAD": found} | memory


@cache
def library() -> ctypes.CDLL:
    """Return the C functions, with the types of their arguments."""
    made = load(Sanitizer.MEMORY if sanitized() else None)
    code = text = ctypes.c_void_p
    size = ctypes.c_size_t
    made.cw_set_check.argtypes = made.cw_captures_check.argtypes = [code, size]
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


class SetRunner:
    """A set that passed its check."""

    def __init__(self, code: bytes) -> None:
        self._code = exactly(code)
        self._words: int = library().cw_set_words(self._code)
        self._bits = (ctypes.c_uint64 * (SET_WORDS + 1))()

    def occur(self, text: bytes) -> set[int]:
        """Return the numbers of the regexes that occur in a text."""
        self._bits[self._words] = _UNTOUCHED
        library().cw_set_run(self._code, exactly(text), len(text), self._bits)
        assert self._bits[self._words] == _UNTOUCHED
        whole = sum(self._bits[word] << 64 * word for word in range(self._words))
        return {number for number in range(64 * self._words) if whole >> number & 1}


class CapturesRunner:
    """Captures that passed their check."""

    def __init__(self, code: bytes, groups: Sequence[str] = ()) -> None:
        self._code = exactly(code)
        self._names = groups
        self._groups: int = library().cw_captures_groups(self._code)
        self._spans = (ctypes.c_int32 * (2 * CAPTURED + 1))()

    def run(self, text: bytes) -> list[tuple[int, int]] | None:
        """Return where each group begins and ends; None if the regex does not occur."""
        told = 2 * self._groups
        self._spans[told] = _UNTOUCHED
        occurs = library().cw_captures_run(self._code, exactly(text), len(text), self._spans)
        assert self._spans[told] == _UNTOUCHED
        if not occurs:
            assert self._spans[:told] == [-1] * told
            return None
        return [(self._spans[at], self._spans[at + 1]) for at in range(0, told, 2)]

    def captured(self, text: bytes) -> Spans | None:
        """Return where groups stand that took part in the match; None if there is none."""
        spans = self.run(text)
        if spans is None:
            return None
        named = zip(self._names, spans, strict=True)
        return {name: span for name, span in named if span != (-1, -1)}


def captured_by_re2(regex: Regex, text: bytes) -> Spans | None:
    """Return what `CapturesRunner.captured` has to return."""
    return regex.spans(text) if regex.matches(text) else None
