"""In which groups refused resources are sent again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.xds.session.trials import MAX_SINGLE, named_in, split

CLUSTERS = "Error adding/updating cluster(s) "


def groups(*names: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(group) for group in names)


def test_without_a_hint_the_names_are_halved() -> None:
    assert split({"a", "b", "c"}, "wrong IP") == groups("a", "bc")


def test_all_that_the_text_does_not_name_come_first_and_the_named_alone() -> None:
    error = f"{CLUSTERS}b: no such file, d: no such file"
    assert split(frozenset("abcd"), error) == groups("ac", "b", "d")


def test_if_the_text_names_all_each_is_sent_alone() -> None:
    assert split({"a", "b"}, f"{CLUSTERS}a: bad, b: bad") == groups("a", "b")


def test_a_name_anywhere_in_another_kind_of_text_is_a_hint() -> None:
    assert split({"cell-1", "cell-2"}, "can't load cell-2.pem") == (
        frozenset({"cell-1"}),
        frozenset({"cell-2"}),
    )


def test_many_named_ones_are_sent_together_first() -> None:
    bad = {f"bad-{number:03}" for number in range(MAX_SINGLE + 1)}
    error = CLUSTERS + ", ".join(f"{name}: bad" for name in sorted(bad))
    assert split(bad | {"good"}, error) == (frozenset({"good"}), frozenset(bad))


@given(st.sets(st.text("abc", max_size=2), min_size=2), st.text("abc: ,", max_size=12))
def test_every_name_is_in_exactly_one_smaller_group(names: set[str], error: str) -> None:
    parts = split(names, error)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(0 < len(part) < len(names) for part in parts)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (f"{CLUSTERS}a: why", {"a"}),
        ("Error adding/updating listener(s) a: why, b: because", {"a", "b"}),
        ("malformed IP address: a: b", set()),
        (f"{CLUSTERS}a: why ...(truncated)", set()),
        (f"{CLUSTERS}a: why…", set()),
        (f"{CLUSTERS}z: why", set()),
    ],
)
def test_only_envoys_complete_list_of_names_is_believed(error: str, named: set[str]) -> None:
    assert named_in(error, {"a", "b", ""}) == named
