"""When a node gets the plain variant instead of its own, and when it is tried again."""

from __future__ import annotations

from control_plane.xds.fleet.served_variant import MAX_UNANSWERED, PAUSE_S, ServedVariant


def served() -> tuple[ServedVariant, list[float]]:
    now = [0.0]
    one = ServedVariant(clock=lambda: now[0])
    one.came("module", booting=True)
    return one, now


def test_a_refusal_holds_until_the_node_boots() -> None:
    one, _ = served()
    one.fall_back("no such file")
    one.came("module", booting=False)
    assert (one.name, one.refused) == ("", "no such file")
    one.came("module", booting=True)
    assert (one.name, one.refused) == ("module", "")


def test_a_node_that_asks_for_something_else_is_served_that() -> None:
    one, _ = served()
    one.fall_back("no such file")
    one.came("other", booting=False)
    assert one.name == "other"


def test_endings_in_a_row_count_and_hold_for_the_pause() -> None:
    one, now = served()
    endings = [one.left_unanswered() for _ in range(MAX_UNANSWERED)]
    assert endings == [False] * (MAX_UNANSWERED - 1) + [True]
    one.came("module", booting=True)
    assert one.name == ""
    now[0] = PAUSE_S
    one.came("module", booting=True)
    assert one.name == "module"


def test_an_answer_ends_the_row() -> None:
    one, _ = served()
    for _ in range(MAX_UNANSWERED - 1):
        one.left_unanswered()
    one.answered()
    assert not one.left_unanswered()
    assert one.name == "module"
