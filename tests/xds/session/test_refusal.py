"""When a refused resource is sent again."""

from __future__ import annotations

from itertools import pairwise

from control_plane.xds.session.refusal import NEVER, RETRY_MAX_S, RETRY_MIN_S, Refusal


def refused(previous: Refusal | None, version: str, now: float, *, retry: bool = True) -> Refusal:
    return Refusal.after(previous, version, "no good", now, retry=retry)


def test_the_pause_doubles_up_to_a_bound_while_the_same_version_is_refused() -> None:
    pauses: list[float] = []
    one = None
    for _ in range(20):
        one = refused(one, "v1", 100.0)
        pauses.append(one.retry_at - one.tried_at)
    assert pauses[0] == RETRY_MIN_S
    assert all(later in {2 * before, RETRY_MAX_S} for before, later in pairwise(pauses))
    assert pauses[-1] == RETRY_MAX_S
    assert one is not None
    assert one.tries == 20


def test_another_version_begins_with_the_shortest_pause() -> None:
    twice = refused(refused(None, "v1", 0), "v1", 10)
    other = refused(twice, "v2", 20)
    assert (other.tries, other.retry_at) == (1, 20 + RETRY_MIN_S)


def test_a_publication_brings_the_next_try_forward_but_not_before_the_shortest_pause() -> None:
    late = refused(refused(refused(None, "v1", 0), "v1", 1), "v1", 3)
    assert late.retry_at == 7
    assert late.brought_forward().retry_at == 3 + RETRY_MIN_S
    soon = refused(None, "v1", 0)
    assert soon.brought_forward() == soon


def test_what_is_not_worth_another_try_is_never_sent_again() -> None:
    never = refused(None, "v1", 0, retry=False)
    assert never.retry_at == NEVER
    assert never.brought_forward().retry_at == NEVER
