"""Visits every state that a model can reach, in the order of their distance from the start."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable


def explore[S: Hashable](
    start: S, steps: Callable[[S], Iterable[tuple[str, S, str | None]]]
) -> tuple[int, list[str] | None]:
    """Visit all states.

    Args:
        start: The first state.
        steps: Returns all that may happen next in a state: what, the state after it, and what is
            wrong with that (None: nothing).

    Returns:
        The number of states, and the shortest way to something wrong, if there is one: what
        happened, and what is wrong.
    """
    ways: dict[S, tuple[S, str] | None] = {start: None}
    todo = deque([start])
    while todo:
        state = todo.popleft()
        for what, after, error in steps(state):
            if error is not None:
                return len(ways), [*_way(ways, state), what, error]
            if after not in ways:
                ways[after] = (state, what)
                todo.append(after)
    return len(ways), None


def _way[S](ways: dict[S, tuple[S, str] | None], state: S) -> list[str]:
    found: list[str] = []
    while (step := ways[state]) is not None:
        state, what = step
        found.append(what)
    return found[::-1]
