"""Circles and ways in a graph of arrows between names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

type Arrow = tuple[str, str]


def circles(arrows: Iterable[Arrow]) -> list[list[str]]:
    """Return one circle, as short as possible, for each tangle of names that reach each other.

    Args:
        arrows: pairs (from, to). An arrow from a name to itself is no circle.

    Returns:
        Each circle begins and ends with the same name: ``["a", "b", "a"]``.
    """
    targets = _by_source(arrows)
    return sorted(
        min((_circle(targets, name, tangle) for name in sorted(tangle)), key=len)
        for tangle in _tangles(targets)
    )


def way(arrows: Iterable[Arrow], start: str, ends: Iterable[str]) -> list[str] | None:
    """Return the shortest way from a name to any of the ends; None if there is none."""
    return _shortest(_by_source(arrows), start, set(ends), None)


def _by_source(arrows: Iterable[Arrow]) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for source, target in sorted(set(arrows)):
        if source != target:
            targets.setdefault(source, []).append(target)
            targets.setdefault(target, [])
    return targets


def _circle(targets: Mapping[str, list[str]], name: str, tangle: set[str]) -> list[str]:
    ways = [
        path
        for target in targets[name]
        if target in tangle and (path := _shortest(targets, target, {name}, tangle)) is not None
    ]
    return [name, *min(ways, key=len)]


def _shortest(
    targets: Mapping[str, list[str]], start: str, ends: set[str], within: set[str] | None
) -> list[str] | None:
    before: dict[str, str | None] = {start: None}
    waiting = deque([start])
    while waiting:
        name: str | None = waiting.popleft()
        if name in ends:
            path = []
            while name is not None:
                path.append(name)
                name = before[name]
            return path[::-1]
        for target in targets.get(name or "", ()):
            if target not in before and (within is None or target in within):
                before[target] = name
                waiting.append(target)
    return None


def _tangles(targets: Mapping[str, list[str]]) -> list[set[str]]:
    """Return the strongly connected parts of two or more names (Kosaraju's two passes)."""
    back: dict[str, list[str]] = {}
    for source, ends in targets.items():
        for target in ends:
            back.setdefault(target, []).append(source)
    order: list[str] = []
    seen: set[str] = set()
    for name in targets:
        _collect(targets, name, seen, order)
    tangles: list[set[str]] = []
    seen = set()
    for name in reversed(order):
        part: list[str] = []
        _collect(back, name, seen, part)
        if len(part) > 1:
            tangles.append(set(part))
    return tangles


def _collect(
    targets: Mapping[str, list[str]], start: str, seen: set[str], order: list[str]
) -> None:
    """Append what ``start`` reaches and was not seen yet: each name after those it reaches."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(targets.get(start, ())))]
    while stack:
        name, rest = stack[-1]
        following = next((one for one in rest if one not in seen), None)
        if following is None:
            order.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(targets.get(following, ()))))
