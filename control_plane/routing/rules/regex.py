"""RE2 with Envoy's options, so that Python and the edge read a pattern the same way."""

from __future__ import annotations

import re2

MAX_PATTERN_CHARS = 4096
MAX_NESTING = 50
"""Groups one within another. The compiler's parser recurses into them, three calls for each."""
MAX_PROGRAM = 5000
"""RE2 instructions of one pattern; the largest of GitLab's has 288.

RE2's time grows with the square of that. This many take 20 ms, during which nothing else runs.
"""
_TRIAL_BYTES = 128 << 10
"""RE2 gives up on programs that are much larger than `MAX_PROGRAM` when it has so much memory."""


class RegexError(ValueError):
    """RE2 refuses the pattern; the message is RE2's own."""


class TooLargeProgram(RegexError):
    """RE2 would need more than `MAX_PROGRAM` instructions."""

    def __init__(self) -> None:
        super().__init__(f"it needs more than {MAX_PROGRAM} instructions")


def _options(*, case_sensitive: bool) -> re2.Options:
    options = re2.Options()
    # As Envoy since 1.40: each byte is a character, whatever text it is part of.
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.case_sensitive = case_sensitive
    return options


def nesting(pattern: str) -> int:
    """Return how deep groups stand one within another; of what RE2 refuses, any number."""
    depth = deepest = 0
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and pattern.startswith("\\Q", at):
            end = pattern.find("\\E", at + 2)
            at = len(pattern) if end < 0 else end + 2
            continue
        if char == "[":
            at = _class_end(pattern, at)
            continue
        if char == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif char == ")":
            depth -= 1
        at += 2 if char == "\\" else 1
    return deepest


def _class_end(pattern: str, at: int) -> int:
    """Return the index after the class that begins at ``at``."""
    at += 2 if pattern.startswith("^", at + 1) else 1
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        named = pattern.find(":]", at + 2) if pattern.startswith("[:", at) else -1
        if named >= 0 and pattern[at + 2 : named].strip("^").isalpha():
            at = named + 2
        else:
            at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _program_size(pattern: str, *, case_sensitive: bool) -> int:
    """Return how many instructions RE2 needs; raise `TooLargeProgram` soon if they are too many."""
    options = _options(case_sensitive=case_sensitive)
    options.max_mem = _TRIAL_BYTES
    size: int = _compiled(pattern, options).programsize
    if size > MAX_PROGRAM:
        raise TooLargeProgram
    return size


def _compiled(pattern: str, options: re2.Options) -> re2._Regexp[bytes]:
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError as error:
        raise RegexError("it has half of a surrogate pair") from error
    except re2.error as error:
        text = error.args[0] if error.args else "invalid pattern"
        message = text.decode() if isinstance(text, bytes) else str(text)
        if "too large" in message:
            raise TooLargeProgram from error
        raise RegexError(message) from error


class Regex:
    """A compiled pattern with search semantics over bytes (Latin-1 mode, as in Envoy)."""

    __slots__ = ("_compiled", "_numbers", "case_sensitive", "groups", "pattern", "program_size")

    def __init__(self, pattern: str, *, case_sensitive: bool = True) -> None:
        if len(pattern) > MAX_PATTERN_CHARS:
            raise RegexError(f"the pattern is longer than {MAX_PATTERN_CHARS} characters")
        if nesting(pattern) > MAX_NESTING:
            raise RegexError(f"more than {MAX_NESTING} groups stand one within another")
        self.pattern = pattern
        self.case_sensitive = case_sensitive
        options = _options(case_sensitive=case_sensitive)
        self.program_size = _program_size(pattern, case_sensitive=case_sensitive)
        """RE2 instructions."""
        self._compiled = _compiled(pattern, options)
        numbers: dict[bytes, int] = self._compiled.groupindex
        named = sorted(numbers.items(), key=lambda item: item[1])
        self._numbers = tuple((name.decode(), number) for name, number in named)
        self.groups: tuple[str, ...] = tuple(name for name, _ in self._numbers)

    def matches(self, subject: bytes) -> bool:
        """Return whether the pattern occurs anywhere in ``subject``."""
        return self._compiled.search(subject) is not None

    def captures(self, subject: bytes) -> dict[str, bytes] | None:
        """Return the named groups of the leftmost match, without those that took no part in it.

        None if the pattern does not occur.
        """
        match = self._compiled.search(subject)
        if match is None:
            return None
        if not self.groups:
            return {}
        spans = [(name, match.span(number)) for name, number in self._numbers]
        return {name: subject[start:end] for name, (start, end) in spans if start >= 0}

    def spans(self, subject: bytes) -> dict[str, tuple[int, int]]:
        """Return where the named groups of the leftmost match stand; nothing if there is none."""
        match = self._compiled.search(subject)
        if match is None:
            return {}
        spans = {name: match.span(number) for name, number in self._numbers}
        return {name: span for name, span in spans.items() if span[0] >= 0}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Regex)
            and self.pattern == other.pattern
            and self.case_sensitive == other.case_sensitive
        )

    def __hash__(self) -> int:
        return hash((self.pattern, self.case_sensitive))

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"


SET_MEMORY_BYTES = 64 << 20
"""RE2's budget for a set's automaton."""


class RegexSet:
    """Many patterns that are searched in one pass, which tells those that occur in a subject."""

    def __init__(self, patterns: tuple[Regex, ...]) -> None:
        options = _options(case_sensitive=True)
        options.max_mem = SET_MEMORY_BYTES
        self._set = re2.Set.SearchSet(options)
        for regex in patterns:
            folded = regex.pattern if regex.case_sensitive else f"(?i:{regex.pattern})"
            self._set.Add(folded.encode())
        # The empty pattern always occurs. RE2 answers with nothing when it runs out of memory, and
        # that must not look like "none of them".
        self._always = self._set.Add(b"")
        self._set.Compile()

    def search(self, subject: bytes) -> frozenset[int]:
        """Return the indexes of the patterns that occur in ``subject``, and the number of patterns.

        The latter is the index of a pattern of the set's own.

        Raises:
            MemoryError: RE2 ran out of `SET_MEMORY_BYTES`.
        """
        indexes = self._set.Match(subject)
        if indexes is None or self._always not in indexes:
            raise MemoryError(f"a set of patterns needs more than {SET_MEMORY_BYTES} bytes")
        return frozenset(indexes)
