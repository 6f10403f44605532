"""From a known key to its cell: a tree of matchers.

A plain text costs Envoy a quarter of a regex, but tells keys apart by one character only. A regex
halves them, and holds however the header is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from control_plane.compiler.matchers import OnMatch, Predicate, contains, holds, starts
from control_plane.compiler.native.key_lookup import KeyLookup

MAX_BRANCHES = 12
"""Texts that are tried one after another; of more, a regex tells which half it is. Ten digits and
what ends a number are eleven."""
MAX_DEPTH = 5
"""Tests of texts one within another; what is then left is halved. Protobuf, and Envoy with it,
reads messages no more than 100 deep, and a step takes four."""


@dataclass(frozen=True, slots=True)
class KeyTree:
    """Builds the tree for one rule's key; ``cell_of`` gives what a key's text leads to."""

    lookup: KeyLookup
    cell_of: Callable[[str], OnMatch]

    def fill(self, target: OnMatch, texts: Sequence[str]) -> None:
        """Lead each of these texts to its cell.

        Only for requests in which one of them is known to stand as the key, and its mark once.
        """
        spelled = self.lookup.spelled(texts)
        if spelled is None:
            self._halve(target, texts)
        else:
            self._part(target, spelled, certain=not self.lookup.mark, depth=0)

    def _halve(self, target: OnMatch, texts: Sequence[str]) -> None:
        """In log2 of their number steps, however the header is written."""
        if len(texts) == 1:
            target.CopyFrom(self.cell_of(texts[0]))
            return
        half = len(texts) // 2
        self._regex(target, texts[:half], lambda found: self._halve(found, texts[:half]))
        self._halve(target.matcher.on_no_match, texts[half:])

    def _part(self, target: OnMatch, spelled: dict[str, str], *, certain: bool, depth: int) -> None:
        """By the next character; ``certain``: the header is known to be written as spelled."""
        texts = list(spelled.values())
        if len(texts) == 1 or depth == MAX_DEPTH:
            self._halve(target, texts)
            return
        parts = branches(list(spelled))
        if len(parts) > MAX_BRANCHES:
            half = len(parts) // 2
            first, rest = _among(spelled, parts[:half]), _among(spelled, parts[half:])
            self._regex(
                target,
                list(first.values()),
                lambda found: self._part(found, first, certain=certain, depth=depth + 1),
            )
            self._part(target.matcher.on_no_match, rest, certain=certain, depth=depth + 1)
            return
        for part in parts[:-1] if certain else parts:
            element = target.matcher.matcher_list.matchers.add()
            element.predicate.CopyFrom(self._stands(part.start))
            self._part(element.on_match, _among(spelled, [part]), certain=True, depth=depth + 1)
        if certain:
            last = _among(spelled, parts[-1:])
            self._part(target.matcher.on_no_match, last, certain=True, depth=depth + 1)
        else:
            self._halve(target.matcher.on_no_match, texts)

    def _regex(
        self, target: OnMatch, texts: Sequence[str], fill: Callable[[OnMatch], None]
    ) -> None:
        element = target.matcher.matcher_list.matchers.add()
        element.predicate.CopyFrom(holds(self.lookup.holds(texts)))
        fill(element.on_match)

    def _stands(self, text: str) -> Predicate:
        test = contains if self.lookup.mark else starts
        return test(self.lookup.header, text)


@dataclass(frozen=True, slots=True)
class Branch:
    """Those of some texts that start alike."""

    start: str
    texts: tuple[str, ...]


def branches(texts: Sequence[str]) -> list[Branch]:
    """Texts by where they first differ, the largest branch first.

    Of at least two, and none of them may start another.
    """
    pairs = zip(min(texts), max(texts), strict=False)
    at = next(place for place, (one, other) in enumerate(pairs, 1) if one != other)
    found = [
        Branch(start, tuple(group))
        for start, group in groupby(sorted(texts), key=lambda text: text[:at])
    ]
    return sorted(found, key=lambda branch: (-len(branch.texts), branch.start))


def _among(spelled: dict[str, str], parts: Sequence[Branch]) -> dict[str, str]:
    return {text: spelled[text] for part in parts for text in part.texts}
