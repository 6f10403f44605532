"""One spelling per bucket: what is the same name, what is not, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.values import ClaimKey, Invalid, NormalisedKeys, normalise

SAME = [
    ("route", "GitLab-Org", "gitlab-org"),
    ("route", "/gitlab-org/", "gitlab-org"),
    ("route", "STRASSE", "stra\u00dfe"),
    ("username", "Ame\u0301lie", "am\u00e9lie"),
    ("email", "Bob@B\u00fccher.Example", "bob@xn--bcher-kva.example"),
    ("email", "bob@example.com.", "bob@example.com"),
    ("host", "WWW.Example.COM.", "www.example.com"),
    ("host", "b\u00fccher.example", "xn--bcher-kva.example"),
    ("project_id", "0042", "42"),
    ("tenant", " Acme ", "acme"),
    ("anything_else", "e\u0301", "\u00e9"),
]
DIFFERENT = [
    ("route", "\u0440aypal", "paypal"),  # a Cyrillic letter is another letter
    ("ssh_key_fingerprint", "aB", "ab"),
    ("anything_else", "A", "a"),
    ("route", "a%2fb", "a/b"),
    ("route", "a.b", "ab"),
]
NONE = [
    ("route", ""),
    ("route", "///"),
    ("route", "a\x00b"),
    ("route", "a" * 1025),
    ("email", "nobody"),
    ("email", "@example.com"),
    ("project_id", "0"),
    ("project_id", "-1"),
    ("project_id", "1e3"),
    ("project_id", "\u0664\u0662"),
    ("project_id", "1" * 20),
    ("route", "\ud800"),
    ("host", "b\u00fccher..example"),
    ("Bad", "x"),
    ("", "x"),
    ("a" * 65, "x"),
]


@pytest.mark.parametrize(("bucket", "one", "other"), SAME)
def test_the_same_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) == normalise(bucket, other)


@pytest.mark.parametrize(("bucket", "one", "other"), DIFFERENT)
def test_another_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) != normalise(bucket, other)


@pytest.mark.parametrize(("bucket", "value"), NONE)
def test_no_name(bucket: str, value: str) -> None:
    with pytest.raises(Invalid):
        normalise(bucket, value)


@pytest.mark.parametrize(
    ("bucket", "value", "why"),
    [
        ("route", "a\x00b", "holds a NUL character"),
        ("route", "a" * 1025, "1025 bytes after normalisation"),
        ("route", "a" * 1025 + "\x00", "1026 bytes after normalisation"),
        ("route", "//", "0 bytes after normalisation"),
    ],
)
def test_what_is_wrong_is_said(bucket: str, value: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        normalise(bucket, value)


@given(st.sampled_from(["route", "username", "email", "host", "project_id", "other"]), st.text())
def test_normalising_twice_is_normalising_once(bucket: str, value: str) -> None:
    try:
        once = normalise(bucket, value)
    except Invalid:
        return
    assert normalise(bucket, once) == once


KEYS = [("user_id", "no number"), ("route", "/A/"), ("Bad", "x"), ("user_id", "007"), ("route", "")]


def test_a_key_is_the_pair_of_its_parts() -> None:
    key = ClaimKey("route", "a")
    assert key == ("route", "a")
    assert {("route", "a"): 1}[key] == 1
    assert str(key) == "route:a"


def test_keys_that_can_not_be_claimed_are_left_out_and_owned_by_nobody() -> None:
    keys = NormalisedKeys.of(KEYS)
    assert keys.keys == [("route", "a"), ("user_id", "7")]
    assert keys.shards == [key.shard for key in keys.keys]
    assert keys.left_out == [0, 2, 4]
    assert keys.parameters() == ["route", "a", "user_id", "7"]
    assert keys.spread([1, 2]) == [None, 1, None, 2, None]


def test_one_key_is_its_own_parameters_and_owners_stay_as_they_are() -> None:
    keys = NormalisedKeys.of([("route", "A")])
    assert tuple(keys.parameters()) == ("route", "a")
    owners = [1]
    assert keys.spread(owners) is owners
    assert NormalisedKeys.of([]).parameters() == []


@given(st.lists(st.sampled_from(KEYS), max_size=6))
def test_each_key_gets_the_owner_of_its_own_place(asked: list[tuple[str, str]]) -> None:
    keys = NormalisedKeys.of(asked)
    names = {("route", "/A/"): 1, ("user_id", "007"): 2}
    owners = [{"a": 1, "7": 2}[key.value] for key in keys.keys]
    assert list(keys.spread(owners)) == [names.get(key) for key in asked]
