"""From a known key to its cell: a tree of matchers.

A rule with a key has a route for each cell. To try one regex per cell takes time with the number of
cells; Envoy has no hash map over a part of a header. A search tree takes its logarithm. By regexes
it halves the keys at each step, however the header is written. A plain text ("contains _s=cell-12")
costs Envoy a quarter of a regex, but it tells keys apart by one more character only, and not if
blanks stand around the "=". So the tree goes by texts first, and by regexes where none of the texts
is there. For the keys cell-1 to cell-3, each followed by "-", in the cookie _s:

    contains "_s=cell-1"?  → cell-1
    contains "_s=cell-2"?  → cell-2
    contains "_s=cell-3"?  → cell-3
    otherwise              → regex for cell-1? → cell-1, otherwise regex for cell-2? → …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from control_plane.compiler.matchers import OnMatch, Predicate, contains, holds, starts
from control_plane.compiler.native.key_lookup import KeyLookup

MAX_BRANCHES = 12
"""So many texts are tried one after another; of more, a regex first tells in which half the key is.
Ten digits and the end of a number are eleven texts."""
MAX_DEPTH = 5
"""So many tests of texts stand one within another; keys that are then left are halved. Protobuf,
and Envoy with it, reads messages no more than 100 deep, and a step takes four."""


@dataclass(frozen=True, slots=True)
class KeyTree:
    """Builds the tree for one rule's key; ``cell_of`` gives what the text of a key leads to."""

    lookup: KeyLookup
    cell_of: Callable[[str], OnMatch]

    def fill(self, target: OnMatch, texts: Sequence[str]) -> None:
        """Lead each of these texts to its cell.

        The tree is for requests in which one of them stands as the key, and the mark once.
        """
        spelled = self.lookup.spelled(texts)
        if spelled is None:
            self._halve(target, texts)
        else:
            self._part(target, spelled, certain=not self.lookup.mark, depth=0)

    def _halve(self, target: OnMatch, texts: Sequence[str]) -> None:
        """Lead texts to their cells by regexes, in as many steps as halve them to one."""
        if len(texts) == 1:
            target.CopyFrom(self.cell_of(texts[0]))
            return
        half = len(texts) // 2
        self._regex(target, texts[:half], lambda on_match: self._halve(on_match, texts[:half]))
        self._halve(target.matcher.on_no_match, texts[half:])

    def _part(self, target: OnMatch, spelled: dict[str, str], *, certain: bool, depth: int) -> None:
        """Lead texts to their cells by the first character in which their spellings differ.

        Args:
            spelled: Texts by spelling, see `KeyLookup.spelled`.
            certain: Whether the header is sure to have one of these spellings.
            depth: How many tests of texts stand around this one.
        """
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
                lambda on_match: self._part(on_match, first, certain=certain, depth=depth + 1),
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
    """The texts among others that start alike."""

    start: str
    texts: tuple[str, ...]


def branches(texts: Sequence[str]) -> list[Branch]:
    """Part texts by the first character in which they differ, the largest branch first.

    Args:
        texts: At least two, of which none starts another.
    """
    pairs = zip(min(texts), max(texts), strict=False)
    at = next(place for place, (one, other) in enumerate(pairs, 1) if one != other)
    parts = [
        Branch(start, tuple(group))
        for start, group in groupby(sorted(texts), key=lambda text: text[:at])
    ]
    return sorted(parts, key=lambda branch: (-len(branch.texts), branch.start))


def _among(spelled: dict[str, str], parts: Sequence[Branch]) -> dict[str, str]:
    return {text: spelled[text] for part in parts for text in part.texts}
