"""One spelling per bucket: what is the same name, what is not, and what is none."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.values import ClaimKey, Invalid, NormalisedKeys, normalise
from control_plane.topology.values.claim_key import NormalForm, normal_form

SAME = [
    ("route", "GitLab-Org", "gitlab-org"),
    ("route", "/gitlab-org/", "gitlab-org"),
    ("route", "STRASSE", "stra\u00dfe"),
    ("username", "Ame\u0301lie", "am\u00e9lie"),
    ("email", "Bob@B\u00fccher.Example", "bob@xn--bcher-kva.example"),
    ("email", "bob@example.com.", "bob@example.com"),
    ("host", "WWW.Example.COM.", "www.example.com"),
    ("host", "b\u00fccher.example", "xn--bcher-kva.example"),
    ("email", "bob@example.com\u3002", "bob@example.com"),
    ("email", '"Bob"@example.com', "bob@example.com"),
    ("email", '"b\\ob"@example.com', "bob@example.com"),
    ("host", "www.example.com:8443", "www.example.com"),
    ("host", "www.example.com.:443", "www.example.com"),
    ("host", "www.example.com\uff1a443", "www.example.com"),
    ("host", "www\u3002example\uff0ecom\uff61", "www.example.com"),
    ("host", "\u039f\u0394\u039f\u03a3.gr", "\u03bf\u03b4\u03bf\u03c3.gr"),  # no final sigma
    ("host", "[0:0::1]:80", "::1"),
    ("pages_domain", "Www.Example.com.", "www.example.com:443"),
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
    ("route", "a\u3002b", "a.b"),  # a dot in names of hosts only
    ("email", "\uff58@g.example", "x@g.example"),
    ("email", '"a b"@g.example', "ab@g.example"),
    ("host", "stra\u00dfe.example", "strasse.example"),
]
NONE = {
    "route": ["", "///", "a\x00b", "a" * 1025, "\ud800", "a\nb"],
    "email": [
        "nobody",
        "@example.com",
        "bob@example.com..",
        "bob@example.com:25",
        "b\u200dob@example.com",
        "bob@exam\u200dple.com",
        "a@b@example.com",
        "a b@example.com",
        "a(b)@example.com",
    ],
    "project_id": ["0", "-1", "1e3", "\u0664\u0662", "1" * 20, str(2**63)],
    "host": [
        "b\u00fccher..example",
        "www..example",
        ".example",
        "www.example..",
        "www.example.\u3002",
        "www.example:https",
        "a b.example",
        "127.1",
        "[::1",
        "[::1]x",
        "fe80::1%eth0",
        ":443",
    ],
    "anything_else": ["a\x7fb"],
    "Bad": ["x"],
    "": ["x"],
    "a" * 65: ["x"],
}


@pytest.mark.parametrize(("bucket", "one", "other"), SAME)
def test_the_same_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) == normalise(bucket, other)


@pytest.mark.parametrize(("bucket", "one", "other"), DIFFERENT)
def test_another_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) != normalise(bucket, other)


@pytest.mark.parametrize(
    ("bucket", "value"), [(bucket, value) for bucket in NONE for value in NONE[bucket]]
)
def test_no_name(bucket: str, value: str) -> None:
    with pytest.raises(Invalid):
        normalise(bucket, value)


@pytest.mark.parametrize(
    ("bucket", "value", "why"),
    [
        ("route", "a\x00b", "holds a NUL character"),
        ("route", "a" * 1025, "1025 bytes after normalisation"),
        ("route", "a" * 1026, "1026 bytes after normalisation"),
        ("route", "//", "0 bytes after normalisation"),
        ("route", "a\nb", r"holds the control character U\+000A"),
        ("host", "g..example", r"two dots \(give a host such as"),
        ("host", "10.1", "no IPv4 address such as 10.0.0.1"),
        ("email", "a\u200db@g.example", r"U\+200D in the local part .* leave it out"),
        ("email", "a@g.example..", r"two dots \(give an address such as ann@example.com"),
    ],
)
def test_what_is_wrong_is_said(bucket: str, value: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        normalise(bucket, value)


def _characters(wanted: Callable[[str], bool]) -> str:
    return "".join(filter(wanted, map(chr, range(sys.maxunicode + 1))))


def _is_odd(char: str) -> bool:
    """Whether it is a blank, can't be seen, or has a width or a dot in it."""
    return (
        unicodedata.category(char) in {"Cf", "Zs", "Zl", "Zp"}
        or unicodedata.east_asian_width(char) in {"F", "H"}
        or char in "\u3002\u0387\u00b7\u2024\u2025\u2026\ufe52"
    )


ODD = _characters(_is_odd)
CASED = _characters(lambda char: len(char.lower()) == 1 and char.lower().upper() == char != "I")
CASED = "".join(char for char in CASED if char.lower() != char)
DOTS = "\u3002\uff0e\uff61"
BUCKETS = ["route", "username", "email", "host", "project_id", "tenant", "pages_domain", "other"]
PLACES = [
    *(("route", place) for place in ("a%sb", "/%s/", "%s\u0301a", "a%s")),
    *(("username", place) for place in ("a%sb", "%s", " %s\u0345\u0301 ")),
    *(("email", place) for place in ("a%s@g.example", "a@g%s.example", "a@g%sexample", "a@g.b%s")),
    *(("host", place) for place in ("%sg.b", "g%s.b", "g.b%s", "g.b.%s", "g.b%s:1", "\u00fc.b%s")),
    *(("other", place) for place in ("a%sb", "%s\u0301")),
    ("project_id", "1%s"),
]


def _normal_or_none(bucket: str, value: str) -> str | None:
    try:
        return normalise(bucket, value)
    except Invalid:
        return None


@pytest.mark.parametrize(("bucket", "place"), PLACES)
def test_every_odd_character_normalises_once_and_for_all(bucket: str, place: str) -> None:
    for char in ODD:
        normal = _normal_or_none(bucket, place % char)
        assert normal is None or normalise(bucket, normal) == normal, (place, hex(ord(char)))


@given(
    st.sampled_from(BUCKETS),
    st.one_of(
        st.text(),
        st.text(st.sampled_from('aA.@-:[]1x"\\ /' + DOTS + "\u200c\u200d\u094d\u0915\u0345")),
        st.text(st.sampled_from(ODD + "a.@")),
        st.text(st.sampled_from(CASED + "\u0130\u1e9e\u0307\u0345.@")),
        st.text(st.sampled_from(ODD + DOTS), max_size=2).map("x1@globex.example{}".format),
        st.text(st.sampled_from(CASED + DOTS + ":4."), max_size=4).map("globex.example{}".format),
    ),
)
def test_normalising_twice_is_normalising_once(bucket: str, value: str) -> None:
    once = _normal_or_none(bucket, value)
    assert once is None or normalise(bucket, once) == once


@pytest.mark.parametrize("dot", DOTS)
@pytest.mark.parametrize("value", ["globex.example", "globex.example.", "b\u00fccher.example"])
def test_every_dot_of_dns_is_a_dot(dot: str, value: str) -> None:
    dotted = value.replace(".", dot)
    assert normalise("host", dotted) == normalise("host", value)
    assert normalise("email", f"x1@{dotted}") == normalise("email", f"x1@{value}")
    assert normalise("pages_domain", f"{dotted}:80") == normalise("pages_domain", value)


@pytest.mark.parametrize("bucket", ["route", "username", "tenant", "host"])
def test_a_letter_and_its_small_one_are_the_same(bucket: str) -> None:
    for char in CASED:
        assert _normal_or_none(bucket, char) == _normal_or_none(bucket, char.lower()), hex(
            ord(char)
        )


def test_wide_letters_are_the_same_in_hosts() -> None:
    wide = "".join(chr(ord(char) + 0xFEE0) for char in "WWW-2")
    assert normalise("host", f"{wide}.example") == "www-2.example"


def test_joiners_stay_where_a_script_needs_them() -> None:
    joined = "\u0915\u094d\u200d\u0937@g.example"
    assert normalise("email", joined) == joined
    assert normalise("host", "\u0915\u094d\u200d\u0937.example").startswith("xn--")


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


def test_each_bucket_has_the_form_that_its_values_are_spelled_in() -> None:
    forms = {
        "route": NormalForm.PATH, "username": NormalForm.NAME, "email": NormalForm.EMAIL, "host": NormalForm.HOST,
        "project_id": NormalForm.NUMBER, "ssh_key": NormalForm.EXACT, "of_our_own": NormalForm.PLAIN,
    }  # fmt: skip
    assert {bucket: normal_form(bucket) for bucket in forms} == forms
